"""What can be hung on the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pangu_alpha.training.metrics import StepMetrics

if TYPE_CHECKING:
    from pangu_alpha.training.trainer import Trainer


class Callback:
    """Called around the loop on every rank. One that writes files does so on the main rank only."""

    def on_start(self, trainer: Trainer) -> None:
        """Before the first step, after a checkpoint was restored."""

    def on_step(self, trainer: Trainer, metrics: StepMetrics) -> None:
        """After each step."""

    def on_lost(self, trainer: Trainer) -> None:
        """When the loss of a step is not finite, before the run ends by that error."""

    def close(self) -> None:
        """However the run ends, also by an error; after `on_end` if that is called."""

    def on_end(self, trainer: Trainer) -> None:
        """After the last step, or after the one during which a signal came."""
