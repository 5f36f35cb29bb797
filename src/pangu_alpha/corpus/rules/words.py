"""Rules with word lists, and the change from traditional to simplified characters."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

from pangu_alpha.corpus.rules.lines import lines_of
from pangu_alpha.errors import ConfigError
from pangu_alpha.reading import read_text

if TYPE_CHECKING:
    from collections.abc import Callable

    import ahocorasick

LISTS = Path(__file__).parent / "lists"
"""Small lists that are shipped: `advertisement.txt`, and `sensitive.txt` as a neutral example of the form."""
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]+")
_PRIVATE = (
    (re.compile(r"[A-Za-z0-9_.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+"), "[邮箱]"),
    (re.compile(r"(?<!\d)[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])\d{3}[\dXx](?!\d)"), "[身份证]"),
    (re.compile(r"(?<!\d)(?:\+?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?!\d)"), "[电话]"),
    (re.compile(r"(?<!\d)0\d{2,3}[- ]\d{7,8}(?!\d)"), "[电话]"),
    (re.compile(r"(?i)(?<=qq)[:：号 ]{0,3}[1-9]\d{4,10}(?!\d)"), "[QQ]"),
)


def num_words_found(text: str, words: str) -> int:
    """How often words of the list are found, in simplified, half-width, lower-case text without invisible marks.

    Raises:
        ConfigError: the list is missing or empty.
    """
    return sum(1 for _ in _automaton(words).iter_long(comparable(text)))


def words_found_a_line(text: str, words: str) -> float:
    """Words of the list that are found ÷ lines."""
    lines = lines_of(text)
    return num_words_found(text, words) / len(lines) if lines else 0.0


def simplify(text: str, config: str) -> tuple[str, int]:
    """Traditional characters to simplified ones, with OpenCC; the number is that of characters that differ."""
    simple = _converter(config)(text)
    return simple, _num_different(text, simple)


def traditional_share(text: str) -> float:
    """Characters that simplification changes ÷ characters."""
    return simplify(text, "t2s")[1] / len(text) if text else 0.0


def private_data(text: str) -> tuple[str, int]:
    """Replace mail addresses, identity cards, telephone and QQ numbers by what they are."""
    total = 0
    for pattern, word in _PRIVATE:
        text, count = pattern.subn(word, text)
        total += count
    return text, total


@lru_cache(maxsize=1)  # one list after the other looks at the same text
def comparable(text: str) -> str:
    """`text` as word lists are matched: simplified, half-width, lower case, without invisible characters."""
    return _converter("t2s")(_INVISIBLE.sub("", normalize("NFKC", text))).lower()


def list_path(name: str) -> Path:
    """The word list `name`: a path, or the name of a shipped one."""
    shipped = LISTS / f"{name}.txt"
    return shipped if shipped.is_file() else Path(name)


def _num_different(text: str, other: str) -> int:
    if text == other:
        return 0
    return sum(map(str.__ne__, text, other)) + abs(len(text) - len(other))


@lru_cache(maxsize=8)
def _automaton(name: str) -> ahocorasick.Automaton:
    import ahocorasick

    path = list_path(name)
    try:
        words = {comparable(line.strip()) for line in read_text(path).splitlines() if not line.startswith("#")}
    except (OSError, ValueError) as error:
        raise ConfigError(f"the word list {path} cannot be read: {error}. A list has a word a line") from error
    words.discard("")
    if not words:
        raise ConfigError(f"the word list {path} has no word. A list has a word a line")
    automaton = ahocorasick.Automaton()
    for word in sorted(words):
        automaton.add_word(word, word)
    automaton.make_automaton()
    return automaton


@lru_cache(maxsize=4)
def _converter(config: str) -> Callable[[str], str]:
    import opencc

    try:
        converter = opencc.OpenCC(config)
    except Exception as error:  # OpenCC raises errors of several kinds
        raise ConfigError(f"OpenCC has no conversion {config!r}: t2s, tw2s, tw2sp, hk2s are some") from error
    convert: Callable[[str], str] = converter.convert
    return convert
