"""What a symbol costs after the few before it: interpolated Kneser-Ney smoothing (Chen and Goodman, 1999).

One discount n₁/(n₁ + 2n₂) an order (Ney's estimate), interpolated down to the uniform distribution over all symbols
that can follow. Symbols are numbers, a run of symbols is one 64-bit number: its digits in base `num_ids`. All orders
stand in one hash table of NumPy arrays, which may lie on the disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.data.order import mix

START, END, UNKNOWN = 1, 2, 3
FIRST = 4
"""The first number that is a symbol of texts; 0 is none, so that no two runs of different lengths are one number."""
Symbols = NDArray[np.uint64]
_NONE = np.zeros(0, np.uint64)


@dataclass(frozen=True)
class KneserNey:
    """Counts of runs of up to `order` symbols, as probabilities.

    p(symbol | before) = weight(before + symbol) + backoff(before) · p(symbol | all but the first of before)
    """

    order: int
    num_ids: int
    """Symbols are below this."""
    hashes: NDArray[np.uint64]
    """Of each run, sorted [runs]."""
    weights: NDArray[np.floating]
    """(count − discount) ÷ count of the run without its last symbol [runs]."""
    backoffs: NDArray[np.floating]
    """discount · kinds of symbols after the run ÷ count of it [runs]."""
    starts: NDArray[np.uint32]
    """For each value of the upper bits of a hash, its first place in `hashes`; and the number of runs [2^bits + 1]."""

    def is_sound(self) -> bool:
        """Whether its arrays can be those of one table, by their lengths and ends."""
        num_runs, num_starts = len(self.hashes), len(self.starts)
        return (
            len(self.weights) == len(self.backoffs) == num_runs > 0
            and num_starts == 2 ** _num_bits(num_starts) + 1
            and (self.starts[0], self.starts[-1]) == (0, num_runs)
        )

    def probabilities(self, symbols: Symbols) -> NDArray[np.float64]:
        """The probability of each symbol of a text, and of its end [len(symbols) + 1]."""
        padded = np.concatenate([np.full(self.order, START), symbols, [END]]).astype(np.uint64)
        places, found = self._look_up(self._runs(padded))
        weights = np.where(found, self.weights[places], 0.0)
        backoffs = np.where(found, self.backoffs[places], 1.0)
        result: NDArray[np.float64] = np.full(len(symbols) + 1, 1.0 / (self.num_ids - 2))
        for size in range(1, self.order + 1):  # row `size` has runs of `size` symbols, row 0 the empty one
            result = weights[size, 1:] + backoffs[size - 1, :-1] * result
        return result

    def _runs(self, padded: Symbols) -> NDArray[np.uint64]:
        """The runs of 0 to `order` symbols that end at the last start or later [order + 1, len(padded) − order + 1]."""
        base, first = np.uint64(self.num_ids), self.order - 1
        runs = np.zeros((self.order + 1, len(padded) - first), np.uint64)
        for size in range(1, self.order + 1):
            oldest = padded[first - size + 1 : len(padded) - size + 1]
            runs[size] = runs[size - 1] + oldest * base ** np.uint64(size - 1)
        return runs

    def _look_up(self, runs: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Where `runs` are in the table, and whether they are there at all."""
        hashes = mix(runs).ravel()
        places = self.starts[hashes >> np.uint64(64 - _num_bits(len(self.starts)))].astype(np.int64)
        last = len(self.hashes) - 1
        places = np.minimum(places, last)
        pending = np.arange(len(places))
        while (pending := pending[(self.hashes[places[pending]] < hashes[pending]) & (places[pending] < last)]).size:
            places[pending] += 1
        return places.reshape(runs.shape), (self.hashes[places] == hashes).reshape(runs.shape)


def count(texts: Iterable[Symbols], order: int, num_ids: int) -> KneserNey:
    """Learn from texts.

    Args:
        texts: symbols of each, `UNKNOWN` or from `FIRST` to `num_ids` − 1.
        order: symbols of the longest run.
        num_ids: at most the `order`-th root of 2^64.
    """
    base = np.uint64(num_ids)
    runs, counts = np.unique(
        np.concatenate([_NONE, *(_predicted(text, order, base) for text in texts)]), return_counts=True
    )
    all_runs, all_weights, all_contexts, all_backoffs = [], [], [], []
    for size in range(order, 0, -1):
        contexts, first = np.unique(runs // base, return_index=True)
        totals = np.add.reduceat(counts, first)
        kinds = np.diff(first, append=len(runs))
        discount = _discount(counts)
        all_runs.append(runs)
        all_weights.append((counts - discount) / np.repeat(totals, kinds))
        all_contexts.append(contexts)
        all_backoffs.append(discount * kinds / totals)
        # Lower orders count in how many kinds of context a run occurs, not how often (Kneser and Ney, 1995).
        runs, counts = np.unique(runs % base ** np.uint64(size - 1), return_counts=True)
    return _table(order, num_ids, all_runs, all_weights, all_contexts, all_backoffs)


def _predicted(text: Symbols, order: int, base: np.uint64) -> NDArray[np.uint64]:
    """The run of `order` symbols that ends with each symbol of a text, and with its end [len(text) + 1]."""
    padded = np.concatenate([np.full(order - 1, START), text, [END]]).astype(np.uint64)
    runs = np.zeros(len(text) + 1, np.uint64)
    for place in range(order):
        runs = runs * base + padded[place : place + len(runs)]
    return runs


def _discount(counts: NDArray[np.int64]) -> float:
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    # Without singletons the estimate is 0, and what was never seen would be impossible.
    return once / (once + 2 * twice) if once and twice else 0.5


def _table(
    order: int,
    num_ids: int,
    runs: list[NDArray[np.uint64]],
    weights: list[NDArray[np.float64]],
    contexts: list[NDArray[np.uint64]],
    backoffs: list[NDArray[np.float64]],
) -> KneserNey:
    """One table of what is a run, a context or both."""
    hashes = np.unique(mix(np.concatenate([*runs, *contexts])))
    all_weights, all_backoffs = np.zeros(len(hashes)), np.ones(len(hashes))
    all_weights[np.searchsorted(hashes, mix(np.concatenate(runs)))] = np.concatenate(weights)
    all_backoffs[np.searchsorted(hashes, mix(np.concatenate(contexts)))] = np.concatenate(backoffs)
    num_bits = max(1, (len(hashes) - 1).bit_length())
    uppers = np.arange(1 << num_bits, dtype=np.uint64) << np.uint64(64 - num_bits)
    starts = np.append(np.searchsorted(hashes, uppers), len(hashes)).astype(np.uint32)
    return KneserNey(order, num_ids, hashes, all_weights, all_backoffs, starts)


def _num_bits(num_starts: int) -> int:
    return (num_starts - 1).bit_length() - 1


def code_points(text: str) -> NDArray[np.uint32]:
    """The characters of a text as numbers; half a surrogate pair, which is no character, as a question mark."""
    return np.frombuffer(text.encode("utf-32-le", errors="replace"), np.uint32)


def symbols_of(characters: NDArray[np.uint32], known: NDArray[np.uint32]) -> Symbols:
    """The symbols of characters, of which those in `known`, sorted, have one of their own."""
    places = np.searchsorted(known, characters)
    is_known = known[np.minimum(places, len(known) - 1)] == characters
    return np.where(is_known, places + FIRST, UNKNOWN).astype(np.uint64)
