"""Functions that have an operator of their own in MindSpore, whose CPU kernels are slow or inexact.

On Ascend and GPU the operator is used: one kernel, and nothing kept between its parts. On a CPU, MindSpore's kernels
for them take several times as long as the elementwise parts that they stand for, which graph fusion joins again
(`docs/performance.md`). Both forms are the same function; a test compares them.
"""

from __future__ import annotations

import math

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

EPSILON = 1e-5
"""Added to the variance in a LayerNorm (released code)."""
_LINEAR = 2.0 * math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715 * _LINEAR
_INVERSE_ROOT_2 = math.sqrt(0.5)


def on_cpu() -> bool:
    """Whether the parts are used."""
    return bool(ms.get_context("device_target") == "CPU")


class Gelu(nn.Cell):
    """GeLU in its tanh form, ½x(1 + tanh(√(2/π)(x + 0.044715x³)))."""

    def __init__(self) -> None:
        super().__init__()
        self.in_parts = on_cpu()
        if not self.in_parts:
            self.gelu = ops.GeLU()
            return
        self.sigmoid_form = SigmoidGelu()
        self.cast = ops.Cast()

    def construct(self, x: Tensor) -> Tensor:
        """Elementwise, in the type of `x`."""
        if not self.in_parts:
            return self.gelu(x)
        # In float16, x² overflows from 256 on and the gradient becomes 0·∞.
        return self.cast(self.sigmoid_form(self.cast(x, ms.float32)), x.dtype)


class SigmoidGelu(nn.Cell):
    """The same function as x·σ(u) with u = 2√(2/π)(x + 0.044715x³), and its gradient in one pass."""

    def __init__(self) -> None:
        super().__init__()
        self.add = ops.Add()
        self.subtract = ops.Sub()
        self.multiply = ops.Mul()
        self.sigmoid = ops.Sigmoid()

    def gate(self, x: Tensor) -> Tensor:
        """σ(u)."""
        slope = self.add(self.multiply(self.multiply(x, x), _CUBIC), _LINEAR)
        return self.sigmoid(self.multiply(x, slope))

    def construct(self, x: Tensor) -> Tensor:
        """float32, elementwise."""
        return self.multiply(x, self.gate(x))

    def bprop(self, x: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor]:
        """σ(u)·(1 + x·(1 - σ(u))·du/dx)·dout; MindSpore computes the gate once for both directions."""
        gate = self.gate(x)
        slope = self.add(self.multiply(self.multiply(x, x), 3 * _CUBIC), _LINEAR)
        bend = self.multiply(self.multiply(x, self.subtract(1.0, gate)), slope)
        gradient = self.multiply(dout, self.multiply(gate, self.add(bend, 1.0)))
        # The dependency keeps the sum over rows that follows (the bias's gradient) out of this kernel, which would be
        # three times as slow with it.
        return (ops.depend(gradient, out),)


class ErfGelu(nn.Cell):
    """GeLU as it is defined, ½x(1 + erf(x/√2)). MindSpore cannot split its own operator for that over ranks."""

    def __init__(self) -> None:
        super().__init__()
        self.cast = ops.Cast()
        self.shrink = ops.Mul()
        self.erf = ops.Erf()
        self.add_one = ops.Add()
        self.halve = ops.Mul()
        self.multiply = ops.Mul()

    def construct(self, x: Tensor) -> Tensor:
        """Elementwise, in the type of `x`; computed in float32, as a device's GeLU is."""
        wide = self.cast(x, ms.float32)
        share = self.halve(self.add_one(self.erf(self.shrink(wide, _INVERSE_ROOT_2)), 1.0), 0.5)
        return self.cast(self.multiply(wide, share), x.dtype)


class RowLoss(nn.Cell):
    """-log softmax(x)[label] of each row, in few passes over the logits, which exceed a processor's caches.

    The softmax is kept for the gradient. log Σ exp(x) is the largest x minus the log of the largest probability, which
    is at least 1/V.
    """

    def __init__(self, num_columns: int) -> None:
        super().__init__()
        self.columns = Tensor(np.arange(num_columns, dtype=np.int32).reshape(1, -1))
        self.softmax = ops.Softmax()
        self.max = ops.ReduceMax(keep_dims=True)
        self.log = ops.Log()
        self.subtract = ops.Sub()
        self.pick = ops.GatherD()
        self.equal = ops.Equal()
        self.cast = ops.Cast()
        self.multiply = ops.Mul()

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        """float32 [N, V] and int32 [N, 1] → float32 [N, 1]."""
        log_sum = self.subtract(self.max(logits, 1), self.log(self.max(self.softmax(logits), 1)))
        return self.subtract(log_sum, self.pick(logits, 1, labels))

    def bprop(self, logits: Tensor, labels: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        """(softmax - one-hot)·dout in one pass; MindSpore computes the softmax once for both directions."""
        is_label = self.cast(self.equal(self.columns, labels), ms.float32)
        gradient = self.multiply(self.subtract(self.softmax(logits), is_label), dout)
        return gradient, ops.zeros_like(labels)


class Normalise(nn.Cell):
    """(x - mean)/√(variance + ε)·gamma + beta over each row."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.in_parts = on_cpu()
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
        self.in_parts = on_cpu()
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
        # Not a Reshape to a scalar: MindSpore would build a new fused kernel for it at every start.
        return self.dot(flat, flat)[0, 0]
