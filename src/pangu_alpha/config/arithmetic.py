"""What a recipe's numbers imply: tokens, operations. All exact integers, no estimates."""

from __future__ import annotations

import math

from pangu_alpha.config.schema import RunConfig
from pangu_alpha.config.sections import ModelConfig


def layer_flops_per_token(model: ModelConfig) -> int:
    """Operations of a layer's matrix products for one token, forward only; attention counted full, not causal.

    A layer has 12d² weights, 2 operations each, and two products of S×d with the attention weights.
    """
    d = model.hidden_size
    return 2 * 12 * d * d + 2 * 2 * model.seq_length * d


def head_flops_per_token(model: ModelConfig) -> int:
    """Operations of the output head for one token, forward only: V·d weights."""
    return 2 * model.vocab_size * model.hidden_size


def forward_flops_per_token(model: ModelConfig) -> int:
    """Operations of all matrix products for one token, forward only."""
    return model.num_layers * layer_flops_per_token(model) + head_flops_per_token(model)


def model_flops_per_token(model: ModelConfig) -> int:
    """Operations of a training step for one token: forward, and twice that for backward. No recomputation."""
    return 3 * forward_flops_per_token(model)


def tokens_per_step(config: RunConfig) -> int:
    """Target positions of one optimizer step over all devices."""
    return config.train.batch_size * config.model.seq_length


def perplexity(loss: float) -> float:
    """e to the power of a mean loss in nats; infinite where that is no number of the machine any more."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
