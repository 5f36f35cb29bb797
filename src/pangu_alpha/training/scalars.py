"""The optimizer's numbers that change from step to step, for both forms of the update. No MindSpore."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pangu_alpha.config import OptimizerConfig, RunConfig, tokens_per_step

_NAMES = ("sens", "count", "learning_rate", "eps", "weight_decay", "largest_loss", "largest_norm")
CONTROLS = tuple(f"control.{name}" for name in _NAMES)
"""Names of the parameters through which a rank's program takes the scalars of a step, in the order of `Update`."""


@dataclass(frozen=True)
class Limits:
    """What a step may reach; beyond, it is a spike."""

    loss: float = math.inf
    grad_norm: float = math.inf


@dataclass(frozen=True)
class UpdateScalars:
    """The numbers of one optimizer step that change from step to step."""

    learning_rate: float
    eps: float
    weight_decay: float
    limits: Limits = Limits()
    """Used where the recipe skips spikes."""


def update_scalars(
    config: OptimizerConfig, learning_rate: float, num_updates: int, limits: Limits = Limits()
) -> UpdateScalars:
    """What the fused operator is given.

    Args:
        config: of the optimizer.
        learning_rate: of the schedule.
        num_updates: updates made before this one; skipped steps do not count.
        limits: for this step.
    """
    if config.kind == "adam_weight_decay":
        return UpdateScalars(learning_rate, config.eps, config.weight_decay, limits)
    first = 1 - config.beta1 ** (num_updates + 1)
    second = math.sqrt(1 - config.beta2 ** (num_updates + 1))
    return UpdateScalars(
        learning_rate * second / first, config.eps * second, config.weight_decay * first / second, limits
    )


def control_values(
    config: RunConfig, num_tokens: int, scalars: UpdateScalars, loss_scale: float
) -> tuple[float, float, float, float, float, float, float]:
    """The scalars of a step, in the order of `CONTROLS`.

    Gradients are those of the loss sum times `sens`; the update divides them by `sens` and by the tokens that counted.

    Args:
        config: the recipe.
        num_tokens: that count in the loss of the global batch.
        scalars: of the optimizer.
        loss_scale: 1 where nothing can overflow.
    """
    sens = loss_scale / tokens_per_step(config)
    # At least 1: a batch of nothing but padding has the loss 0, not 0 ÷ 0.
    limits = scalars.limits
    return (
        *(sens, max(num_tokens, 1), scalars.learning_rate, scalars.eps, scalars.weight_decay),
        *(limits.loss, limits.grad_norm),
    )


def may_skip(config: RunConfig) -> bool:
    """Whether there can be steps that change nothing: overflows in float16, or spikes."""
    return config.spikes.skip or config.model.compute_dtype == "float16"
