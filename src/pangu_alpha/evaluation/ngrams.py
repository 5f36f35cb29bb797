"""What a text costs without a network: models of characters, counted on the training text.

Each is a proper distribution over texts: it knows the characters of the training text, the end of a document, and pays
for an unknown character as one symbol and then for which of Unicode's other code points it is. So their bits per
character can stand beside those of a network that falls back to bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.errors import DataError

_START, _END, _UNKNOWN = 0, 1, 2
_FIRST_CHARACTER = 3
_NUM_CODE_POINTS = 0x110000 - 0x800
"""Unicode's scalar values: all code points but the surrogates."""


@dataclass(frozen=True)
class NgramResult:
    """Bits per character on the held-out text, the end of each document included in the bits but not the characters."""

    unigram: float
    trigram: float
    num_characters: int
    num_unknown: int
    """Characters of it that the training text does not have."""


class NgramModels:
    """A unigram model with add-one smoothing, and a trigram model with interpolated Kneser-Ney smoothing.

    Kneser-Ney as in Chen and Goodman (1999), one discount n₁/(n₁ + 2n₂) an order (Ney's estimate), interpolated down to
    the uniform distribution over the known symbols and the unknown one.
    """

    def __init__(self, documents: Iterable[str]) -> None:
        """Count the characters of `documents`.

        Raises:
            DataError: there is no character.
        """
        texts = [_code_points(text) for text in documents]
        self._characters = np.unique(np.concatenate(texts)) if texts else np.empty(0, np.uint32)
        if not len(self._characters):
            raise DataError("the training text holds no character to count")
        self._num_ids = len(self._characters) + _FIRST_CHARACTER
        grams = self._grams(texts)
        self._unigrams = np.bincount(grams % self._num_ids, minlength=self._num_ids)
        trigrams, counts = np.unique(grams, return_counts=True)
        bigrams, bigram_kinds = np.unique(trigrams % self._num_ids**2, return_counts=True)
        # Lower orders count in how many kinds of context a gram occurs, not how often (Kneser and Ney, 1995).
        unigrams, unigram_kinds = np.unique(bigrams % self._num_ids, return_counts=True)
        self._orders = [
            _Order(unigrams, unigram_kinds, self._num_ids),
            _Order(bigrams, bigram_kinds, self._num_ids),
            _Order(trigrams, counts, self._num_ids),
        ]

    def measure(self, documents: Iterable[str]) -> NgramResult:
        """What `documents` cost.

        Raises:
            DataError: there is no character.
        """
        texts = [_code_points(text) for text in documents]
        num_characters = sum(len(text) for text in texts)
        if not num_characters:
            raise DataError("the held-out text holds no character to measure")
        grams = self._grams(texts)
        symbols = grams % self._num_ids
        num_unknown = int((symbols == _UNKNOWN).sum())
        which_unknown = num_unknown * math.log2(_NUM_CODE_POINTS - len(self._characters))
        counts = self._unigrams[symbols] + 1
        # The start is never predicted, so it is not among the symbols that share the probability.
        unigram = -np.log2(counts / (self._unigrams.sum() + self._num_ids - 1)).sum()
        trigram = -np.log2(self._kneser_ney(grams)).sum()
        return NgramResult(
            unigram=float(unigram + which_unknown) / num_characters,
            trigram=float(trigram + which_unknown) / num_characters,
            num_characters=num_characters,
            num_unknown=num_unknown,
        )

    def _kneser_ney(self, grams: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probability of the last symbol of each trigram, given the first two."""
        probability = np.full(len(grams), 1.0 / (self._num_ids - 1))
        for size, order in enumerate(self._orders, start=1):
            probability = order.interpolate(grams % self._num_ids**size, probability)
        return probability

    def _grams(self, texts: Iterable[NDArray[np.uint32]]) -> NDArray[np.int64]:
        """One number for each predicted symbol: (before the last)·n² + last·n + symbol, with n ids."""
        parts = [np.empty(0, np.int64)]
        for text in texts:
            places = np.searchsorted(self._characters, text)
            known = self._characters[np.minimum(places, len(self._characters) - 1)] == text
            symbols = np.where(known, places + _FIRST_CHARACTER, _UNKNOWN)
            padded = np.concatenate([[_START, _START], symbols, [_END]])
            parts.append((padded[:-2] * self._num_ids + padded[1:-1]) * self._num_ids + padded[2:])
        return np.concatenate(parts)


class _Order:
    """Counts of the grams of one size, and their smoothing with the next smaller size."""

    def __init__(self, grams: NDArray[np.int64], counts: NDArray[np.int64], num_ids: int) -> None:
        self._grams, self._counts, self._num_ids = grams, counts, num_ids
        self._contexts, first = np.unique(grams // num_ids, return_index=True)
        self._totals = np.add.reduceat(counts, first)
        self._num_kinds = np.diff(first, append=len(grams))
        once, twice = int((counts == 1).sum()), int((counts == 2).sum())
        # Without singletons the estimate is 0, and what was never seen would be impossible.
        self._discount = once / (once + 2 * twice) if once and twice else 0.5

    def interpolate(self, grams: NDArray[np.int64], lower: NDArray[np.float64]) -> NDArray[np.float64]:
        """(max(count - D, 0) + D · kinds · lower) ÷ total; `lower` where the context was never seen."""
        counts = _look_up(self._grams, self._counts, grams)
        totals = _look_up(self._contexts, self._totals, grams // self._num_ids)
        num_kinds = _look_up(self._contexts, self._num_kinds, grams // self._num_ids)
        discounted = np.maximum(counts - self._discount, 0.0) + self._discount * num_kinds * lower
        return np.where(totals > 0, discounted / np.maximum(totals, 1), lower)


def _look_up(keys: NDArray[np.int64], values: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Values of `wanted` in the sorted `keys`, 0 for those that are not there."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)
