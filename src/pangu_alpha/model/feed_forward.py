"""The feed-forward part of a layer: two matrix products with GeLU between them."""

from __future__ import annotations

from mindspore import Tensor, nn

from pangu_alpha.config import ModelConfig
from pangu_alpha.model.dtypes import compute_dtype
from pangu_alpha.model.linear import Linear
from pangu_alpha.model.operators import ErfGelu, Gelu


class FeedForward(nn.Cell):
    """GeLU(x·W₁ + b₁)·W₂ + b₂, with an inner width of 4d."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        size, inner, dtype = config.hidden_size, config.feed_forward_size, compute_dtype(config)
        self.expand = Linear(size, inner, dtype)
        self.gelu = Gelu() if config.gelu == "tanh" else ErfGelu()
        self.contract = Linear(inner, size, dtype)

    def construct(self, x: Tensor) -> Tensor:
        """[N, d] → [N, d]."""
        return self.contract(self.gelu(self.expand(x)))
