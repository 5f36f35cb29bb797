"""How a kernel is called, and the gradient that its backward kernel should compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pangu_alpha.emulator.kernels import KERNELS

Array = np.ndarray[Any, Any]


@pytest.fixture
def run_kernel() -> Callable[..., Any]:
    def run(primitive: str, *inputs: Any, **attributes: Any) -> Any:
        kernel = KERNELS[primitive]
        assert set(attributes) == set(kernel.attributes)
        before = [value.copy() if isinstance(value, np.ndarray) else value for value in inputs]
        result = kernel.function(*inputs, **attributes)
        for value, copy in zip(inputs, before, strict=True):
            np.testing.assert_array_equal(value, copy, err_msg=f"{primitive} has written into its input")
        return result

    return run


@pytest.fixture
def numeric_gradient() -> Callable[..., Array]:
    def gradient(function: Callable[[Array], Array], x: Array, dy: Array, step: float = 1e-6) -> Array:
        """d Σ(function(x)·dy) / dx by central differences, float64."""
        dx = np.zeros_like(x)
        for place in np.ndindex(*x.shape):
            moved = np.zeros_like(x)
            moved[place] = step
            dx[place] = np.sum((function(x + moved) - function(x - moved)) * dy) / (2 * step)
        return dx

    return gradient
