"""What a step reports, whoever computed it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pangu_alpha.config import RunConfig
from pangu_alpha.training.scalars import Limits


@dataclass(frozen=True)
class StepResult:
    """What a step reports."""

    loss: float
    """Mean loss of a counted token, in nats."""
    grad_norm: float
    """Global norm of the mean loss's gradient before clipping."""
    num_tokens: int
    """Counted tokens of the global batch."""
    skipped: bool
    """Whether nothing was updated: gradients overflowed (float16 only), or the step was a spike."""
    is_spike: bool = False
    """Whether it was skipped as one."""


def step_result(config: RunConfig, loss: float, grad_norm: float, num_tokens: int, limits: Limits) -> StepResult:
    """What a step has done, by the two numbers that it reports: the device decides by the same ones, in float32."""
    overflow = config.model.compute_dtype == "float16" and not math.isfinite(grad_norm)
    # Not a number is above every limit, too.
    is_spike = config.spikes.skip and not overflow and not (loss <= limits.loss and grad_norm <= limits.grad_norm)
    return StepResult(loss, grad_norm, num_tokens, overflow or is_spike, is_spike)
