"""How right a free answer is: exact match, F1, Rouge, and a word in its place. All from 0 to 1."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jieba

_UNITS = re.compile(r"[^\W_]", re.UNICODE)
_WORD = re.compile(r"[0-9a-z\u00c0-\u024f]+|.", re.DOTALL)


def units(text: str) -> list[str]:
    """What answers are compared by: Chinese characters, words of letters and digits; no case, no punctuation."""
    return [unit for unit in _WORD.findall(text.lower()) if _UNITS.match(unit)]


def exact_match(answer: str, references: Sequence[str]) -> float:
    """1 when the answer equals a reference in all its units; where there are none, in all its characters."""
    return float(any(_equal(answer, reference) for reference in references))


def _equal(answer: str, reference: str) -> bool:
    found, wanted = units(answer), units(reference)
    return found == wanted if found or wanted else answer.strip() == reference.strip()


def f1(answer: str, references: Sequence[str]) -> float:
    """The best F1 over the references, of the longest common run of units (the measure published with CMRC 2018)."""
    return max(_f_measure(units(answer), units(reference), _longest_run) for reference in references)


def rouge_1(answer: str, references: Sequence[str]) -> float:
    """The best F of the units in common, whatever their order (Lin, 2004)."""
    return max(_f_measure(units(answer), units(reference), _common) for reference in references)


def rouge_l(answer: str, references: Sequence[str]) -> float:
    """The best F of the longest common subsequence of units (Lin, 2004)."""
    return max(_f_measure(units(answer), units(reference), _subsequence) for reference in references)


def begins_with_word(answer: str, references: Sequence[str]) -> float:
    """1 when the answer begins with a reference, and a word ends there.

    The network is not told how long the word is: that it goes on writing must not count against it, and 中 is not right
    because 中国 begins with it. Words are jieba's.
    """
    text = answer.lstrip()
    return float(any(text.startswith(reference) and _word_ends(text, len(reference)) for reference in references))


def _word_ends(text: str, place: int) -> bool:
    end = 0
    for word in _words().cut(text[: place + 20]):
        end += len(word)
        if end >= place:
            break
    return end == place


@cache
def _words() -> jieba.Tokenizer:
    import logging

    import jieba

    jieba.setLogLevel(logging.WARNING)
    return jieba.Tokenizer()


def _f_measure(
    answer: Sequence[str], reference: Sequence[str], overlap: Callable[[Sequence[str], Sequence[str]], int]
) -> float:
    if not answer or not reference:
        return 0.0
    num_common = overlap(answer, reference)
    return 2 * num_common / (len(answer) + len(reference))


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    return sum((Counter(first) & Counter(second)).values())


def _longest_run(first: Sequence[str], second: Sequence[str]) -> int:
    longest = 0
    row = [0] * (len(second) + 1)
    for unit in first:
        row = [0, *(row[place] + 1 if unit == other else 0 for place, other in enumerate(second))]
        longest = max(longest, *row)
    return longest


def _subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    row = [0] * (len(second) + 1)
    for unit in first:
        before = row
        row = [0]
        for place, other in enumerate(second):
            row.append(before[place] + 1 if unit == other else max(row[-1], before[place + 1]))
    return row[-1]
