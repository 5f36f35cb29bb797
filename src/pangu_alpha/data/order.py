"""Which sample comes when: an exact blend of the sources, and inside each source a seeded permutation an epoch.

Everything is a pure function of the global sample number, computed in O(1) memory and time a sample: nothing is stored
but one period of the blend, so any step can be asked for first.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.errors import DataError

MAX_PERIOD = 1_000_000
"""Longest period of a blend, in samples."""

_ROUNDS = 12
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): a bijection of 64-bit words that looks random."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def keys(*parts: int | NDArray[np.int64]) -> NDArray[np.uint64]:
    """One 64-bit key for each combination of `parts` (numbers or arrays of one shape), in any order sensitive."""
    result = np.zeros(1, np.uint64)
    for part in parts:
        result = mix((result ^ np.asarray(part).astype(np.uint64)) + _GOLDEN)
    return result


def permute(index: NDArray[np.int64], size: int, key: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The place of `index` under the pseudo-random permutation of range(size) that `key` chooses.

    A Feistel network on the pairs (left, right) of a·b ≥ size with a·b - size < a ≈ √size, in which one half is shifted
    by a hash of the other, each modulo its own range. A result outside range(size) goes through again (cycle walking,
    Black and Rogaway 2002), which happens to about one in √size.

    Args:
        index: [n], each in range(size).
        size: number of things that change places, from 1 to 2^62.
        key: [n] or [1]; elements with the same key belong to the same permutation.
    """
    a = math.isqrt(size - 1) + 1
    b = -(-size // a)
    width, height = np.uint64(a), np.uint64(b)
    result = index.astype(np.uint64)
    key = np.broadcast_to(key, result.shape)
    pending = np.arange(len(result))
    while pending.size:
        left, right = result[pending] // height, result[pending] % height
        for round_number in range(_ROUNDS):
            round_key = key[pending] + np.uint64(round_number)
            if round_number % 2:
                right = (right + mix(left ^ mix(round_key)) % height) % height
            else:
                left = (left + mix(right ^ mix(round_key)) % width) % width
        result[pending] = left * height + right
        pending = pending[result[pending] >= size]
    return result.astype(np.int64)


class Blend:
    """Assigns each sample number to a source: whole weights w₁…w_K with sum P repeat a pattern of P samples.

    In a period source s gets exactly w_s samples, and in every prefix of n samples its count differs from n·w_s/P by
    less than 1 (Tijdeman, "The chairman assignment problem", 1980).
    """

    def __init__(self, weights: Sequence[float]) -> None:
        """Prepare the pattern for `weights`, positive numbers taken exactly as printed: 10.23 is 1023/100.

        Raises:
            DataError: the pattern would be longer than `MAX_PERIOD`.
        """
        exact = [Fraction(str(weight)) for weight in weights]
        scale = math.lcm(*(weight.denominator for weight in exact))
        whole = [int(weight * scale) for weight in exact]
        divisor = math.gcd(*whole)
        self.weights = tuple(weight // divisor for weight in whole)
        self.period = sum(self.weights)
        if self.period > MAX_PERIOD:
            raise DataError(
                f"the weights {', '.join(map(str, weights))} repeat only after {self.period:,} samples; at most "
                f"{MAX_PERIOD:,} are supported. Round the weights to fewer digits"
            )
        pattern = np.array(_pattern(self.weights), np.int64)
        self._pattern, self._rank = pattern, np.empty(self.period, np.int64)
        for source, weight in enumerate(self.weights):
            self._rank[pattern == source] = np.arange(weight)
        self._whole = np.array(self.weights, np.int64)

    def locate(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Source of each sample number, and how many samples that source gave before it: two arrays like `numbers`."""
        periods, places = np.divmod(numbers, self.period)
        sources = self._pattern[places]
        return sources, periods * self._whole[sources] + self._rank[places]


def _pattern(weights: Sequence[int]) -> list[int]:
    # Tijdeman's rule, as a schedule: the i-th sample of a source may come from slot ⌈(i + 1/D)·P/w⌉ on (slots from 1,
    # D = 2K - 2), and of those that may come, the one with the earliest deadline (i + 1 - 1/D)·P/w does.
    period, d = sum(weights), max(2 * len(weights) - 2, 1)
    scale = math.lcm(*weights)

    def release(source: int, i: int) -> int:
        return -(-(d * i + 1) * period // (d * weights[source]))

    def deadline(source: int, i: int) -> int:
        return (d * i + d - 1) * (scale // weights[source])

    waiting = [(release(source, 0), source, 0) for source in range(len(weights))]
    heapq.heapify(waiting)
    ready: list[tuple[int, int, int]] = []
    pattern = []
    for slot in range(1, period + 1):
        while waiting and waiting[0][0] <= slot:
            _, source, i = heapq.heappop(waiting)
            heapq.heappush(ready, (deadline(source, i), source, i))
        _, source, i = heapq.heappop(ready)
        pattern.append(source)
        heapq.heappush(waiting, (release(source, i + 1), source, i + 1))
    return pattern
