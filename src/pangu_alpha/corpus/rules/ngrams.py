"""Rules that look at n-grams: of characters, and of words as jieba cuts them."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from pangu_alpha.corpus.rules.lines import lines_of

_LETTER = re.compile(r"[^\W_]")


def repeated_character_ngrams(text: str, ngram: int) -> float:
    """Characters inside n-grams that were there before ÷ characters, white space left out."""
    joined = "".join(text.split())
    return _repeated_share([joined[i : i + ngram] for i in range(len(joined) - ngram + 1)], list(joined), ngram)


def repeated_word_ngrams(text: str, ngram: int) -> float:
    """Characters inside n-grams of words that were there before ÷ characters of all words."""
    words = words_of(text)
    grams = ["\0".join(words[i : i + ngram]) for i in range(len(words) - ngram + 1)]
    return _repeated_share(grams, words, ngram)


def top_word_ngram(text: str, ngram: int) -> float:
    """Characters that the most frequent n-gram of words covers ÷ characters of all words; once does not count."""
    words = words_of(text)
    if len(words) < ngram:
        return 0.0
    grams = Counter(tuple(words[i : i + ngram]) for i in range(len(words) - ngram + 1))
    gram, count = min(grams.items(), key=lambda item: (-item[1], item[0]))
    return count * sum(map(len, gram)) / sum(map(len, words)) if count > 1 else 0.0


def word_length(text: str) -> float:
    """Characters of a word on average; punctuation is no word."""
    words = [word for word in words_of(text) if _LETTER.search(word)]
    return sum(map(len, words)) / len(words) if words else 0.0


def letter_words(text: str) -> float:
    """Words with a letter ÷ words: a Han character is a letter."""
    words = words_of(text)
    return sum(bool(_LETTER.search(word)) for word in words) / len(words) if words else 0.0


def num_stop_words(text: str, frequent: str) -> int:
    """How many of the `frequent` words, separated by white space, are among the text's words."""
    return len(set(frequent.split()) & set(words_of(text)))


def line_break_share(text: str) -> float:
    """Line breaks ÷ words."""
    words = words_of(text)
    return (len(lines_of(text)) - 1) / len(words) if words else 0.0


@lru_cache(maxsize=2)  # several rules of a recipe look at the same text one after the other
def words_of(text: str) -> list[str]:
    """The words of a text as jieba cuts them, without white space."""
    import jieba

    jieba.setLogLevel("ERROR")
    return [word for word in jieba.lcut(text, HMM=False) if word.strip()]


def _repeated_share(grams: list[str], units: list[str], ngram: int) -> float:
    """`grams` begin at each of `units` in turn; a repeated one is passed over as a whole, as Gopher's rules do."""
    total = sum(map(len, units))
    seen: set[str] = set()
    repeated = at = 0
    while at < len(grams):
        if grams[at] in seen:
            repeated += sum(map(len, units[at : at + ngram]))
            at += ngram
        else:
            seen.add(grams[at])
            at += 1
    return repeated / total if total else 0.0
