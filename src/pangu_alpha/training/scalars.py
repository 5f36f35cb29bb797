"""The optimizer's numbers that change from step to step, for both forms of the update. No MindSpore."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pangu_alpha.config import OptimizerConfig


@dataclass(frozen=True)
class UpdateScalars:
    """The numbers of one optimizer step that change from step to step."""

    learning_rate: float
    eps: float
    weight_decay: float


def update_scalars(config: OptimizerConfig, learning_rate: float, num_updates: int) -> UpdateScalars:
    """What the fused operator is given.

    Args:
        learning_rate: of the schedule.
        num_updates: updates made before this one; skipped steps do not count.
    """
    if config.kind == "adam_weight_decay":
        return UpdateScalars(learning_rate, config.eps, config.weight_decay)
    first = 1 - config.beta1 ** (num_updates + 1)
    second = math.sqrt(1 - config.beta2 ** (num_updates + 1))
    return UpdateScalars(learning_rate * second / first, config.eps * second, config.weight_decay * first / second)
