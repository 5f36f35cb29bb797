"""Starting values of the parameters, as a function of (seed, parameter name, index) and of nothing else. No MindSpore.

Every process, whatever part it holds, draws the same number for the same element: element `i` of a parameter is the
inverse normal distribution of the `i`-th number of that parameter's own counter-based stream.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from pangu_alpha.config import RunConfig
from pangu_alpha.parallel.parameters import MOMENTS, Distribution, Shape, Start, row_of
from pangu_alpha.parallel.parts import Box

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


def initial_box(start: Start, num_layers: int, seed: int, name: str, whole: Shape, box: Box) -> npt.NDArray[np.float32]:
    """A box of the parameter `name` of the shape `whole`, drawn without the rest of it; other arguments as above.

    Returns:
        float32 of the box's shape.
    """
    values = np.empty(box.shape, np.float32)
    row_size = math.prod(whole[1:])
    if box.shape[1:] == whole[1:]:  # whole rows: one run of the stream
        begin = box.begin[0] * row_size
        values[...] = initial_values(start, num_layers, seed, name, begin, begin + values.size).reshape(box.shape)
        return values
    for number, row in enumerate(values):
        begin = (box.begin[0] + number) * row_size + box.begin[1]
        row[...] = initial_values(start, num_layers, seed, name, begin, begin + row.size)
    return values


def starting_values(config: RunConfig) -> Callable[[str, Box], npt.NDArray[np.float32]]:
    """Gives any box of any weight or moment as it is before the first step."""
    model, seed = config.model, config.train.seed

    def read(name: str, box: Box) -> npt.NDArray[np.float32]:
        if name.startswith(MOMENTS):
            return np.zeros(box.shape, np.float32)
        row = row_of(name)
        return initial_box(row.start, model.num_layers, seed, name, row.shape(model), box)

    return read


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
