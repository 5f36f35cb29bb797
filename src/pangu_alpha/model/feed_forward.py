"""The feed-forward part of a layer: two matrix products with GeLU between them."""

from __future__ import annotations

from mindspore import Tensor, nn

from pangu_alpha.config import ModelConfig
from pangu_alpha.model.dtypes import compute_dtype
from pangu_alpha.model.initializer import FEED_FORWARD_INPUT, residual_output
from pangu_alpha.model.linear import Linear
from pangu_alpha.model.operators import Gelu


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
