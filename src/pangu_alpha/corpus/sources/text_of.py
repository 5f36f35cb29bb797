"""From a stored document to its text: encoding, JSON fields, HTML without navigation. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pangu_alpha.corpus.sources.stored import Stored
from pangu_alpha.reading import parse_json

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)[^<>]*?(/?)>")
_EMPTY = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
_ENDED_BY_THE_NEXT = {"p", "li", "dt", "dd", "option", "tr", "td", "th"}
_FLAT = frozenset(_EMPTY | _ENDED_BY_THE_NEXT)
"""Elements that are not nested in themselves, whether or not their end is written."""
_MAX_BROKEN = 0.01
"""Share of characters of a UTF-8 text that may be broken, with which it still counts as UTF-8."""
_BROKEN = "\ufffd"
_BLANK = re.compile(r"[^\S\n]+")


@dataclass(frozen=True)
class Text:
    """The text of a document."""

    text: str
    encoding: str
    problem: str = ""
    """Why there is none."""


def text_of(stored: Stored, fields: Sequence[str], html_depth: int) -> Text:
    """The text of a stored document.

    Args:
        stored: the document.
        fields: of a JSON line: the texts of these, a paragraph each.
        html_depth: levels of nested elements that are parsed.
    """
    if stored.problem:
        return Text("", "", stored.problem)
    text, encoding = decode(stored.data, stored.charset, stored.format == "html")
    if stored.format == "json":
        return _json_text(text, encoding, fields)
    if stored.format == "html":
        return Text("", encoding, "html_too_deep") if nesting(text) > html_depth else _html_text(text, encoding)
    return Text(tidy(text), encoding)


def decode(data: bytes, declared: str = "", is_html: bool = False) -> tuple[str, str]:
    """The text of `data`, and its encoding: UTF-8 if it is sound, else what is declared or detected.

    UTF-8 with some broken characters is `utf-8 (broken)`; each is U+FFFD, which the rule `special_symbols` removes.
    """
    for mark, name in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if data.startswith(mark):
            return data[len(mark) :].decode(name, errors="replace"), name
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        broken = data.decode("utf-8", errors="replace")
    if broken.count(_BROKEN) <= _MAX_BROKEN * len(broken):
        return broken, "utf-8 (broken)"
    from resiliparse.parse.encoding import detect_encoding

    detected = detect_encoding(data, from_html_meta=is_html)
    for guess in (declared.lower(), detected, "gb18030"):
        if not guess:
            continue
        wider = {"gb2312": "gb18030", "gbk": "gb18030", "gb_2312-80": "gb18030"}.get(guess, guess)
        try:
            text = data.decode(wider, errors="replace")
        except LookupError:  # a server's invention
            continue
        if text.count(_BROKEN) <= _MAX_BROKEN * len(text):
            return text, wider + (" (broken)" if _BROKEN in text else "")
    return broken, "utf-8 (broken)"


def nesting(html: str) -> int:
    """How deep elements are nested at most, from their tags alone; elements without an end count for nothing."""
    depth = deepest = 0
    for closing, name, empty in _TAG.findall(html):
        if empty or name.lower() in _FLAT:
            continue
        depth = max(depth - 1, 0) if closing else depth + 1
        deepest = max(deepest, depth)
    return deepest


def tidy(text: str) -> str:
    """`text` with one kind of line end, without white space around lines and without empty lines."""
    text = _BLANK.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
    return "\n".join(line for line in map(str.strip, text.split("\n")) if line)


def _json_text(line: str, encoding: str, fields: Sequence[str]) -> Text:
    try:
        entry = parse_json(line)
    except (ValueError, RecursionError):
        return Text("", encoding, "no_json")
    parts = [entry[name] for name in fields if isinstance(entry.get(name), str)] if isinstance(entry, dict) else []
    if not parts:
        return Text("", encoding, "no_text_field")
    # Half a surrogate pair, which only an escape can smuggle in, is no character.
    return Text(tidy("\n".join(parts).encode(errors="replace").decode()), encoding)


def _html_text(html: str, encoding: str) -> Text:
    from resiliparse.extract.html2text import extract_plain_text

    text = extract_plain_text(html, main_content=True, alt_texts=False, list_bullets=False)
    return Text(tidy(text), encoding)
