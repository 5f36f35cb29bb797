"""Functions that have an operator of their own in MindSpore, whose CPU kernels are slow or inexact.

On Ascend and GPU the operator is used: one kernel, and nothing kept between its parts. On a CPU, MindSpore's kernels
for them take several times as long as the elementwise parts that they stand for, which graph fusion joins again
(`docs/performance.md`). Both forms are the same function; a test compares them.
"""

from __future__ import annotations

import math

import mindspore as ms
from mindspore import Tensor, nn, ops

EPSILON = 1e-5
"""Added to the variance in a LayerNorm (released code)."""
_LINEAR = 2.0 * math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715 * _LINEAR


def _on_cpu() -> bool:
    return bool(ms.get_context("device_target") == "CPU")


class Gelu(nn.Cell):
    """GeLU in its tanh form, ½x(1 + tanh(√(2/π)(x + 0.044715x³))) = x·σ(2√(2/π)(x + 0.044715x³))."""

    def __init__(self) -> None:
        super().__init__()
        self.in_parts = _on_cpu()
        if not self.in_parts:
            self.gelu = ops.GeLU()
            return
        self.square = ops.Mul()
        self.cubic = ops.Mul()
        self.linear = ops.Add()
        self.inner = ops.Mul()
        self.sigmoid = ops.Sigmoid()
        self.gate = ops.Mul()
        self.cast = ops.Cast()

    def construct(self, x: Tensor) -> Tensor:
        """Elementwise, in the type of `x`."""
        if not self.in_parts:
            return self.gelu(x)
        # In float16, x² overflows from 256 on and the gradient becomes 0·∞.
        wide = self.cast(x, ms.float32)
        slope = self.linear(self.cubic(self.square(wide, wide), _CUBIC), _LINEAR)
        return self.cast(self.gate(wide, self.sigmoid(self.inner(wide, slope))), x.dtype)


class Normalise(nn.Cell):
    """(x - mean)/√(variance + ε)·gamma + beta over each row."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.in_parts = _on_cpu()
        if not self.in_parts:
            self.layer_norm = ops.LayerNorm(begin_norm_axis=1, begin_params_axis=1, epsilon=EPSILON)
            return
        self.share = 1.0 / size
        self.sum = ops.ReduceSum(keep_dims=True)
        self.mean = ops.Mul()
        self.centre = ops.Sub()
        self.square = ops.Mul()
        self.variance = ops.Mul()
        self.stabilise = ops.Add()
        self.inverse_root = ops.Rsqrt()
        self.normalise = ops.Mul()
        self.scale = ops.Mul()
        self.shift = ops.Add()

    def construct(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """float32 [N, size], [size], [size] → float32 [N, size]."""
        if not self.in_parts:
            return self.layer_norm(x, gamma, beta)[0]
        centred = self.centre(x, self.mean(self.sum(x, 1), self.share))
        variance = self.variance(self.sum(self.square(centred, centred), 1), self.share)
        normalised = self.normalise(centred, self.inverse_root(self.stabilise(variance, EPSILON)))
        return self.shift(self.scale(normalised, gamma), beta)


class SumOfSquares(nn.Cell):
    """Σ x² of a tensor, in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.in_parts = _on_cpu()
        self.cast = ops.Cast()
        if not self.in_parts:
            self.square = ops.Square()
            self.sum = ops.ReduceSum()
            return
        self.reshape = ops.Reshape()
        # A matrix product, because it adds up in blocks: fused on a CPU, a plain sum of millions of float32 numbers
        # goes one after the other and loses three digits.
        self.dot = ops.MatMul(transpose_b=True)

    def construct(self, x: Tensor) -> Tensor:
        """Any shape → float32 scalar."""
        x = self.cast(x, ms.float32)
        if not self.in_parts:
            return self.sum(self.square(x))
        flat = self.reshape(x, (1, -1))
        return self.reshape(self.dot(flat, flat), ())
