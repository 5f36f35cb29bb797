"""Look-ups by index, and the sums that are their gradients."""

from __future__ import annotations

import numpy as np

from pangu_alpha.emulator.kernels.registry import kernel
from pangu_alpha.program.graph import Array


def _check(indices: Array, size: int) -> None:
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        raise IndexError(f"an index is outside [0, {size}): they run from {indices.min()} to {indices.max()}")


@kernel("Gather", moves=True)
def gather(table: Array, indices: Array, axis: int, batch_dims: int) -> Array:
    """Slices of `table` along `axis`."""
    if batch_dims:
        raise ValueError(f"batch_dims {batch_dims} is not known, only 0")
    axis = int(axis)
    _check(indices, table.shape[axis])
    return np.take(table, indices, axis)


@kernel("UnsortedSegmentSum")
def unsorted_segment_sum(x: Array, segments: Array, num_segments: int) -> Array:
    """Row s of the result is the sum of the rows of `x` whose segment is s; a segment outside the range is dropped."""
    total = np.zeros((int(num_segments), *x.shape[segments.ndim :]), x.dtype)
    ids, rows = segments.reshape(-1), x.reshape(-1, *x.shape[segments.ndim :])
    order = np.argsort(ids, kind="stable")
    order = order[(ids[order] >= 0) & (ids[order] < num_segments)]
    if order.size:
        ordered = ids[order]
        starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        total[ordered[starts]] = np.add.reduceat(rows[order], starts, axis=0)
    return total


@kernel("GatherD", moves=True)
def gather_d(x: Array, dim: int, indices: Array) -> Array:
    """One element of `x` along `dim` for each index."""
    _check(indices, x.shape[dim])
    return np.take_along_axis(x, indices, dim)


@kernel("GatherDGradV2")
def gather_d_grad(x: Array, dim: int, indices: Array, dy: Array) -> Array:
    """`dy` added at the places that `gather_d` took."""
    dx = np.zeros(x.shape, dy.dtype)
    places = list(np.indices(indices.shape, sparse=True))
    places[dim] = indices
    np.add.at(dx, tuple(places), dy)
    return dx


@kernel("OneHot", moves=True)
def one_hot(indices: Array, depth: int, on: Array, off: Array, axis: int) -> Array:
    """`on` at each index along a new dim `axis`, else `off`; an index outside the range gives only `off`."""
    hot = np.where(np.arange(int(depth)) == indices[..., None], on, off)
    return np.moveaxis(hot, -1, axis)
