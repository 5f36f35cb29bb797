"""Starting values of the parameters, as a function of (seed, parameter name, index) and of nothing else.

Every process, whatever slice it holds, draws the same number for the same element: element `i` of a parameter is the
inverse normal distribution of the `i`-th number of that parameter's own counter-based stream.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

Distribution = Literal["normal", "truncated_normal", "zeros", "ones"]

_CHUNK = 1 << 20
_PHILOX_BLOCK = 4


@dataclass(frozen=True)
class Init:
    """How one parameter starts."""

    distribution: Distribution
    """`truncated_normal` is cut at two standard deviations."""
    std: float = 0.0
    """Standard deviation of the (untruncated) normal distribution."""


ZEROS = Init("zeros")
ONES = Init("ones")
WORD_TABLE = Init("normal", 0.02)
POSITION_TABLE = Init("truncated_normal", 0.02)
# The released code leaves these three to the framework's default for dense layers, a normal of 0.01.
ATTENTION_INPUT = Init("normal", 0.01)
FEED_FORWARD_INPUT = Init("normal", 0.02)


def residual_output(num_layers: int) -> Init:
    """Start of the two matrices that write to the residual stream: N(0, 0.02/√(2L)), as in the released code."""
    return Init("normal", 0.02 / math.sqrt(2 * num_layers))


def initial_values(init: Init, seed: int, name: str, start: int, stop: int) -> npt.NDArray[np.float32]:
    """Elements `start` to `stop` of the flattened parameter `name`.

    Returns:
        float32 of shape [stop - start].
    """
    values = np.empty(stop - start, np.float32)
    for begin in range(start, stop, _CHUNK):
        end = min(begin + _CHUNK, stop)
        values[begin - start : end - start] = _draw(init, seed, name, begin, end)
    return values


def _draw(init: Init, seed: int, name: str, start: int, stop: int) -> npt.NDArray[np.float64]:
    if init.distribution == "zeros":
        return np.zeros(stop - start)
    if init.distribution == "ones":
        return np.ones(stop - start)
    uniform = _uniform(seed, name, start, stop)
    if init.distribution == "truncated_normal":
        low = ndtr(-2.0)
        uniform = low + uniform * (1 - 2 * low)
    return init.std * ndtri(uniform)


def _uniform(seed: int, name: str, start: int, stop: int) -> npt.NDArray[np.float64]:
    """Numbers `start` to `stop` of the stream of (seed, name), inside (0, 1)."""
    key = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:16], "little")
    first_block = start // _PHILOX_BLOCK
    raw = np.random.Philox(key=key).advance(first_block).random_raw(stop - first_block * _PHILOX_BLOCK)
    bits = raw[start - first_block * _PHILOX_BLOCK :] >> np.uint64(11)
    return (bits + 0.5) * 2.0**-53
