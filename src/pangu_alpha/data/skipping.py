"""Which samples come next, when some are left out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def next_numbers(first: int, count: int, skipped: Iterable[tuple[int, int]] = ()) -> NDArray[np.int64]:
    """The next `count` sample numbers from `first` on that are in none of the `skipped` ranges.

    Args:
        first: the number after the last one that was used.
        count: at least 1.
        skipped: first and last number of each range, in any order; they may overlap.
    """
    numbers: list[NDArray[np.int64]] = []
    for begin, last in sorted(skipped):
        if last < first:
            continue
        taken = np.arange(first, min(max(begin, first), first + count))
        numbers.append(taken)
        count -= len(taken)
        if not count:
            break
        first = last + 1
    return np.concatenate([*numbers, np.arange(first, first + count)])
