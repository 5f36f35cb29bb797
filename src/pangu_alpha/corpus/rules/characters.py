"""Rules that look at single characters: how much is Chinese, how long a text is, what is no text at all."""

from __future__ import annotations

import re

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Of a character class: all Han characters of Unicode, 〇 apart."""
_HAN = re.compile(f"[{HAN}]+")
_NOT_WHITE = re.compile(r"\S+")
_SENTENCE_END = re.compile(r"[。！？!?…]|[.](?=\s|$)")
_SPECIAL = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f"  # control characters but tab and line end
    "\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffd"  # invisible ones, and what could not be decoded
    "\u2190-\u21ff\u2500-\u27bf\u2b00-\u2bff\ufe00-\ufe0f"  # arrows, boxes, shapes, dingbats
    "\ue000-\uf8ff\U0001f000-\U0001faff\U000e0000-\U0010ffff]+"  # private use, emoji, tags
)
_HYPHENS = re.compile(r"([-=_*~#+.·—])\1{5,}")


def _length(pattern: re.Pattern[str], text: str) -> int:
    return sum(map(len, pattern.findall(text)))


def num_characters(text: str) -> int:
    """Characters but white space."""
    return _length(_NOT_WHITE, text)


def num_han(text: str) -> int:
    """Han characters."""
    return _length(_HAN, text)


def chinese_share(text: str) -> float:
    """Han characters ÷ characters that are no white space, 0 to 1; punctuation and digits count as not Chinese."""
    total = num_characters(text)
    return num_han(text) / total if total else 0.0


def num_sentences(text: str) -> int:
    """Marks that end a sentence; a page of which only the title is left has none."""
    return len(_SENTENCE_END.findall(text))


def special_symbols(text: str) -> tuple[str, int]:
    """Remove what is no text: control and invisible characters, boxes, arrows, emoji; rulers like ------ get shorter.

    Full-width punctuation and quotation marks stay as they are.
    """
    clean = _HYPHENS.sub(r"\1\1\1", _SPECIAL.sub("", text.replace("\r\n", "\n").replace("\u3000", " ")))
    return clean, len(text) - len(clean)
