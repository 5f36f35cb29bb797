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

from pangu_alpha.data import kneser_ney
from pangu_alpha.data.kneser_ney import END, FIRST, START, UNKNOWN, Symbols
from pangu_alpha.errors import DataError

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
    """A unigram model with add-one smoothing, and a trigram model with interpolated Kneser-Ney smoothing."""

    def __init__(self, documents: Iterable[str]) -> None:
        """Count the characters of `documents`.

        Raises:
            DataError: there is no character.
        """
        texts = [kneser_ney.code_points(text) for text in documents]
        self._characters = np.unique(np.concatenate(texts)) if texts else np.empty(0, np.uint32)
        if not len(self._characters):
            raise DataError("the training text holds no character to count")
        num_ids = len(self._characters) + FIRST
        symbols = [kneser_ney.symbols_of(text, self._characters) for text in texts]
        self._unigrams = np.bincount(_with_ends(symbols), minlength=num_ids)
        self._trigrams = kneser_ney.count(symbols, 3, num_ids)

    def measure(self, documents: Iterable[str]) -> NgramResult:
        """What `documents` cost.

        Raises:
            DataError: there is no character.
        """
        texts = [kneser_ney.symbols_of(kneser_ney.code_points(text), self._characters) for text in documents]
        num_characters = sum(map(len, texts))
        if not num_characters:
            raise DataError("the held-out text holds no character to measure")
        symbols = _with_ends(texts)
        num_unknown = int((symbols == UNKNOWN).sum())
        which_unknown = num_unknown * math.log2(_NUM_CODE_POINTS - len(self._characters))
        counts = self._unigrams[symbols] + 1
        # What is no symbol and the start are never predicted, so they are not among those that share the probability.
        unigram = -np.log2(counts / (self._unigrams.sum() + len(self._unigrams) - START - 1)).sum()
        trigram = -sum(float(np.log2(self._trigrams.probabilities(text)).sum()) for text in texts)
        return NgramResult(
            unigram=float(unigram + which_unknown) / num_characters,
            trigram=float(trigram + which_unknown) / num_characters,
            num_characters=num_characters,
            num_unknown=num_unknown,
        )


def _with_ends(texts: list[Symbols]) -> NDArray[np.int64]:
    """The symbols of all texts, an end after each."""
    return np.concatenate([np.append(text, np.uint64(END)) for text in texts]).astype(np.int64)
