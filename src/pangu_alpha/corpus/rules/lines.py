"""Rules that look at lines: navigation, paragraphs that are there twice, short lines, how lines end."""

from __future__ import annotations

import re

from pangu_alpha.corpus.rules.characters import num_han

_SEPARATORS = re.compile(r"[|｜>»›•/\\]|·|--|\s{2,}")
_STOP = re.compile(r"[。！？!?…；;，,：:]")
_LINE_END = tuple("。！？!?…；;.：:”’\"'」』）)》")
_FINAL = re.compile(r"[。！？!?…][”’」』）)]*")


def lines_of(text: str) -> list[str]:
    """The lines with something on them, without white space around."""
    return [line for line in map(str.strip, text.split("\n")) if line]


def navigation(text: str, run: int, length: int, items: int) -> tuple[str, int]:
    """Remove navigation: lines of `items` or more words with separators between, runs of `run` or more short lines.

    A short line has fewer than `length` characters and none of the marks of a sentence.
    """
    lines = lines_of(text)
    short = [len(line) < length and not _STOP.search(line) for line in lines]
    kept: list[str] = []
    start = 0
    while start < len(lines):
        end = start
        while end < len(lines) and short[end]:
            end += 1
        if end - start < run:
            end = max(end, start + 1) if not short[start] else end
            kept += [line for line in lines[start:end] if not _is_bar(line, items)]
        start = end
    clean = "\n".join(kept)
    return clean, len("\n".join(lines)) - len(clean)


def _is_bar(line: str, items: int) -> bool:
    words = [word for word in _SEPARATORS.split(line) if word and word.strip()]
    return len(words) >= items and not _STOP.search(line) and max(map(len, words)) <= 12


def repeated_paragraphs(text: str, length: int) -> tuple[str, int]:
    """Keep the first of equal paragraphs of `length` characters or more."""
    seen: set[str] = set()
    kept = []
    lines = lines_of(text)
    for line in lines:
        if len(line) < length or line not in seen:
            kept.append(line)
            seen.add(line)
    clean = "\n".join(kept)
    return clean, len("\n".join(lines)) - len(clean)


def short_paragraphs(text: str, han: int) -> tuple[str, int]:
    """Remove paragraphs of fewer than `han` Han characters."""
    lines = lines_of(text)
    clean = "\n".join(line for line in lines if num_han(line) >= han)
    return clean, len("\n".join(lines)) - len(clean)


def unfinished_end(text: str) -> tuple[str, int]:
    """Cut off what follows the last mark that ends a sentence; a text without any stays."""
    ends = [found.end() for found in _FINAL.finditer(text)]
    return (text[: ends[-1]], len(text) - ends[-1]) if ends else (text, 0)


def line_length(text: str) -> float:
    """Characters of a line on average."""
    lines = lines_of(text)
    return sum(map(len, lines)) / len(lines) if lines else 0.0


def line_end_share(text: str) -> float:
    """Lines that end with punctuation ÷ lines."""
    lines = lines_of(text)
    return sum(line.endswith(_LINE_END) for line in lines) / len(lines) if lines else 0.0


def repeated_line_share(text: str) -> float:
    """Lines that were there before ÷ lines."""
    lines = lines_of(text)
    return 1 - len(set(lines)) / len(lines) if lines else 0.0


def repeated_line_characters(text: str) -> float:
    """Characters in lines that were there before ÷ characters."""
    lines = lines_of(text)
    total = sum(map(len, lines))
    return 1 - sum(map(len, set(lines))) / total if total else 0.0
