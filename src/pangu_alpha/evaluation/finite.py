"""A loss that means nothing, in one sentence wherever a network is measured."""

from __future__ import annotations

import math

from pangu_alpha.errors import CheckpointError


def require_finite(loss: float, of: str) -> None:
    """Refuse a loss that is not finite.

    Args:
        loss: in nats.
        of: what it was measured on.

    Raises:
        CheckpointError: it is not finite.
    """
    if not math.isfinite(loss):
        raise CheckpointError(
            f"the network's loss on {of} is not finite: its training had diverged, or its weights are too large for "
            "its compute_dtype. Use an earlier checkpoint"
        )
