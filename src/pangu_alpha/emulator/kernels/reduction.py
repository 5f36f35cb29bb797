"""Primitives that reduce over axes: no axis means all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pangu_alpha.emulator.kernels.registry import kernel
from pangu_alpha.program.graph import Array

Axes = int | tuple[int, ...] | None


def _reduction(function: Callable[..., Any]) -> Callable[..., Array]:
    def reduce(x: Array, axes: Axes = None, keep_dims: bool = False, skip_mode: bool = False) -> Array:
        if axes == () and skip_mode:
            return x
        return function(x, axis=None if axes == () else axes, keepdims=bool(keep_dims))

    return reduce


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceSum": np.sum,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceMean": np.mean,
    "ReduceAll": np.all,
    "ReduceAny": np.any,
}
for _primitive, _function in _FUNCTIONS.items():
    kernel(_primitive)(_reduction(_function))


@kernel("SumExt")
def sum_ext(x: Array, axes: Axes, keep_dims: bool, _dtype: Any) -> Array:
    """A sum; its fourth input is the number of the result's type, which is also recorded."""
    return np.sum(x, axis=None if axes == () else axes, keepdims=bool(keep_dims))
