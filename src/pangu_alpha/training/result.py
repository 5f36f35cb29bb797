"""What a step reports, whoever computed it."""

from __future__ import annotations

from dataclasses import dataclass


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
    """Whether gradients overflowed, so that nothing was updated (float16 only)."""
