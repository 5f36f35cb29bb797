"""Primitives that move data without computing."""

from __future__ import annotations

from typing import Any

import numpy as np

from pangu_alpha.emulator.kernels.registry import kernel
from pangu_alpha.program.graph import Array


@kernel("Reshape", moves=True)
def reshape(x: Array, shape: tuple[int, ...]) -> Array:
    """One size may be -1."""
    return x.reshape(shape)


@kernel("Transpose", moves=True)
def transpose(x: Array, permutation: tuple[int, ...]) -> Array:
    """Dim i of the result is dim `permutation[i]`."""
    return x.transpose(permutation)


@kernel("ExpandDims", moves=True)
def expand_dims(x: Array, axis: int) -> Array:
    """A dim of size 1 before `axis`."""
    return np.expand_dims(x, axis)


@kernel("Tile", moves=True)
def tile(x: Array, repeats: tuple[int, ...]) -> Array:
    """`x` repeated along each dim."""
    return np.tile(x, repeats)


@kernel("BroadcastTo", moves=True)
def broadcast_to(x: Array, shape: tuple[int, ...]) -> Array:
    """-1 keeps a size of `x`."""
    sizes = (1,) * (len(shape) - x.ndim) + x.shape
    return np.broadcast_to(x, [own if size == -1 else size for size, own in zip(shape, sizes, strict=True)])


@kernel("Concat", moves=True)
def concat(parts: tuple[Array, ...], axis: int) -> Array:
    """The parts joined along `axis`."""
    return np.concatenate(parts, axis)


@kernel("Stack", attributes=("axis", "num", "N"), moves=True)
def stack(parts: tuple[Array, ...], axis: int, num: int, N: int) -> Array:  # noqa: N803 - MindSpore's name
    """The parts as entries of a new dim; `num` and `N` both say how many they are."""
    return np.stack(parts, axis)


@kernel("Split", moves=True)
def split(x: Array, axis: int, num_parts: int) -> tuple[Array, ...]:
    """Equal parts along `axis`."""
    return tuple(np.split(x, num_parts, axis))


@kernel("StridedSlice", moves=True)
def strided_slice(
    x: Array,
    begin: tuple[int, ...],
    end: tuple[int, ...],
    strides: tuple[int, ...],
    begin_mask: int,
    end_mask: int,
    ellipsis_mask: int,
    new_axis_mask: int,
    shrink_axis_mask: int,
) -> Array:
    """A slice of each of the first dims; a bit of `begin_mask` or `end_mask` opens that dim's slice."""
    if ellipsis_mask or new_axis_mask:
        raise ValueError("ellipsis and new-axis masks are not known")
    index: list[slice | int] = []
    for i, (first, last, stride) in enumerate(zip(begin, end, strides, strict=True)):
        opened = slice(None if begin_mask >> i & 1 else first, None if end_mask >> i & 1 else last, stride)
        index.append(first if shrink_axis_mask >> i & 1 else opened)
    return x[tuple(index)]


_NO_MASKS = dict.fromkeys(("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"), 0)


@kernel("StridedSliceGrad", only=_NO_MASKS, moves=True)
def strided_slice_grad(
    dy: Array, shape: tuple[int, ...], begin: tuple[int, ...], end: tuple[int, ...], strides: tuple[int, ...]
) -> Array:
    """`dy` at the places that `strided_slice` took without masks, zeros elsewhere."""
    dx = np.zeros(shape, dy.dtype)
    dx[tuple(map(slice, begin, end, strides))] = dy
    return dx


@kernel("ZerosLike", "ZerosLikeExt", moves=True)
def zeros_like(x: Array, _dtype: Any = None) -> Array:
    """Zeros in the shape of `x`."""
    return np.zeros_like(x)


@kernel("OnesLike", moves=True)
def ones_like(x: Array) -> Array:
    """Ones in the shape of `x`."""
    return np.ones_like(x)
