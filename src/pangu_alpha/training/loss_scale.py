"""The dynamic loss scale that keeps float16 gradients in range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pangu_alpha.config import LossScaleConfig

SMALLEST = 1.0
"""The scale never falls below it: what overflows here overflows without a scale."""
LARGEST = float(2**32)
"""The scale never grows above the published first value; beyond it only overflows come."""


@dataclass
class LossScaler:
    """Divides the scale after an overflow, multiplies it after a window of good steps."""

    config: LossScaleConfig
    scale: float
    """What the loss is multiplied with before the backward pass."""
    good_steps: int = 0
    """Steps without overflow since the scale last changed."""
    hopeless_steps: int = 0
    """Overflows in a row at the smallest scale."""

    @property
    def is_hopeless(self) -> bool:
        """Whether steps overflow that no scale can help."""
        return self.hopeless_steps >= self.config.max_overflows

    def state(self) -> dict[str, float]:
        """What goes on after a resume."""
        return {"scale": self.scale, "good_steps": self.good_steps, "hopeless_steps": self.hopeless_steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.scale, self.good_steps = state["scale"], state["good_steps"]
        self.hopeless_steps = state.get("hopeless_steps", 0)  # not in checkpoints of earlier versions

    def update(self, overflow: bool) -> None:
        """Take note of a step."""
        self.hopeless_steps = self.hopeless_steps + 1 if overflow and self.scale == SMALLEST else 0
        if overflow:
            self.scale = max(self.scale / self.config.factor, SMALLEST)
            self.good_steps = 0
            return
        self.good_steps += 1
        if self.good_steps >= self.config.window:
            self.scale = min(self.scale * self.config.factor, LARGEST)
            self.good_steps = 0
