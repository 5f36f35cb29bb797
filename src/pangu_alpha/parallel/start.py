"""Starting values of the parameters, as a function of (seed, parameter name, index) and of nothing else. No MindSpore.

Every process, whatever part it holds, draws the same number for the same element: element `i` of a parameter is the
inverse normal distribution of the `i`-th number of that parameter's own counter-based stream.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from pangu_alpha.parallel.parameters import Distribution, Start

_CHUNK = 1 << 20
_PHILOX_BLOCK = 4


def initial_values(
    start: Start, num_layers: int, seed: int, name: str, begin: int, end: int
) -> npt.NDArray[np.float32]:
    """Elements `begin` to `end` of the flattened parameter `name` of a network of `num_layers` layers.

    Returns:
        float32 of shape [end - begin].
    """
    values = np.empty(end - begin, np.float32)
    std = start.std_in(num_layers)
    for first in range(begin, end, _CHUNK):
        last = min(first + _CHUNK, end)
        values[first - begin : last - begin] = _draw(start.distribution, std, seed, name, first, last)
    return values


def _draw(
    distribution: Distribution, std: float, seed: int, name: str, begin: int, end: int
) -> npt.NDArray[np.float64]:
    if distribution == "zeros":
        return np.zeros(end - begin)
    if distribution == "ones":
        return np.ones(end - begin)
    uniform = _uniform(seed, name, begin, end)
    if distribution == "truncated_normal":
        low = ndtr(-2.0)
        uniform = low + uniform * (1 - 2 * low)
    return std * ndtri(uniform)


def _uniform(seed: int, name: str, begin: int, end: int) -> npt.NDArray[np.float64]:
    """Numbers `begin` to `end` of the stream of (seed, name), inside (0, 1)."""
    key = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:16], "little")
    first_block = begin // _PHILOX_BLOCK
    raw = np.random.Philox(key=key).advance(first_block).random_raw(end - first_block * _PHILOX_BLOCK)
    bits = raw[begin - first_block * _PHILOX_BLOCK :] >> np.uint64(11)
    return (bits + 0.5) * 2.0**-53
