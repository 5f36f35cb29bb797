"""LayerNorm and Softmax with their gradients."""

from __future__ import annotations

import numpy as np

from pangu_alpha.emulator.kernels.registry import kernel
from pangu_alpha.program.graph import Array


@kernel("LayerNorm")
def layer_norm(
    x: Array, gamma: Array, beta: Array, begin_norm_axis: int, _begin_params_axis: int, epsilon: float
) -> tuple[Array, Array, Array]:
    """Normalised over the dims from `begin_norm_axis` on; mean and variance of each row, dims kept."""
    axes = _axes_from(begin_norm_axis, x)
    mean = x.mean(axes, keepdims=True)
    centred = x - mean
    variance = np.mean(centred * centred, axes, keepdims=True)
    return centred / np.sqrt(variance + epsilon) * gamma + beta, mean, variance


@kernel("LayerNormGrad", attributes=("epsilon",))
def layer_norm_grad(
    x: Array,
    dy: Array,
    variance: Array,
    mean: Array,
    gamma: Array,
    begin_norm_axis: int,
    begin_params_axis: int,
    *,
    epsilon: float,
) -> tuple[Array, Array, Array]:
    """Gradients of x, gamma and beta."""
    axes = _axes_from(begin_norm_axis, x)
    inverse = 1.0 / np.sqrt(variance + epsilon)
    normalised = (x - mean) * inverse
    slope = dy * gamma
    shared = slope.mean(axes, keepdims=True) + normalised * np.mean(slope * normalised, axes, keepdims=True)
    rows = tuple(range(begin_params_axis % x.ndim))
    return inverse * (slope - shared), np.sum(dy * normalised, rows), np.sum(dy, rows)


def _axes_from(first: int, x: Array) -> tuple[int, ...]:
    return tuple(range(first % x.ndim, x.ndim))


@kernel("Softmax")
def softmax(x: Array, axis: int | tuple[int, ...]) -> Array:
    """eˣ/Σeˣ along `axis`."""
    exponentials = np.exp(x - x.max(axis, keepdims=True))
    return exponentials / exponentials.sum(axis, keepdims=True)


@kernel("SoftmaxBackward")
def softmax_backward(dy: Array, y: Array, axis: int) -> Array:
    """From the result `y` = softmax(x)."""
    return y * (dy - np.sum(dy * y, axis, keepdims=True))
