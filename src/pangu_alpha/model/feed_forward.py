"""The feed-forward part of a layer: two matrix products with GeLU between them."""

from __future__ import annotations

import math

from mindspore import Tensor, nn, ops

from pangu_alpha.config import ModelConfig
from pangu_alpha.model.dtypes import compute_dtype
from pangu_alpha.model.initializer import FEED_FORWARD_INPUT, residual_output
from pangu_alpha.model.linear import Linear

_LINEAR = 2.0 * math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715 * _LINEAR


class Gelu(nn.Cell):
    """GeLU in its tanh form, ½x(1 + tanh(√(2/π)(x + 0.044715x³))), written as x·σ(2√(2/π)(x + 0.044715x³)).

    The form that Ascend's and MindSpore's CPU `GeLU` operator compute. The operator itself takes 10 times as long as
    these elementwise ones on a CPU (`benchmarks/train_cpu.py --operators`).
    """

    def __init__(self) -> None:
        super().__init__()
        self.square = ops.Mul()
        self.cubic = ops.Mul()
        self.linear = ops.Add()
        self.inner = ops.Mul()
        self.sigmoid = ops.Sigmoid()
        self.gate = ops.Mul()

    def construct(self, x: Tensor) -> Tensor:
        """[N, 4d] → [N, 4d]."""
        slope = self.linear(self.cubic(self.square(x, x), _CUBIC), _LINEAR)
        return self.gate(x, self.sigmoid(self.inner(x, slope)))


class FeedForward(nn.Cell):
    """GeLU(x·W₁ + b₁)·W₂ + b₂, with an inner width of 4d."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size, dtype = config.hidden_size, compute_dtype(config)
        self.expand = Linear(size, 4 * size, FEED_FORWARD_INPUT, dtype)
        self.gelu = Gelu()
        self.contract = Linear(4 * size, size, residual_output(config.num_layers), dtype)

    def construct(self, x: Tensor) -> Tensor:
        """[N, d] → [N, d]."""
        return self.contract(self.gelu(self.expand(x)))
