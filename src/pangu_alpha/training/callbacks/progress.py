"""Shows the person watching how the run goes."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pangu_alpha.console import progress, say, si
from pangu_alpha.training.callbacks.base import Callback
from pangu_alpha.training.metrics import StepMetrics

if TYPE_CHECKING:
    from pangu_alpha.training.trainer import Trainer


class ShowProgress(Callback):
    """A bar for the whole run and a line every `train.log_every` steps."""

    def __init__(self) -> None:
        self._bar = ExitStack()

    def on_start(self, trainer: Trainer) -> None:
        """Open the bar."""
        if trainer.is_main:
            steps = trainer.config.train.steps
            done = trainer.progress.step
            self._advance = self._bar.enter_context(progress("training", steps, "steps", done, slow_start=True))

    def on_step(self, trainer: Trainer, metrics: StepMetrics) -> None:
        """Advance the bar; now and then print a line."""
        if not trainer.is_main:
            return
        self._advance(1)
        train = trainer.config.train
        if metrics.step % train.log_every == 0 or metrics.step in (1, train.steps):
            say(describe(metrics, train.steps))

    def on_end(self, trainer: Trainer) -> None:
        """Close the bar."""
        self._bar.close()


def describe(metrics: StepMetrics, num_steps: int) -> str:
    """One line about a step, for a terminal of 80 columns; metrics.jsonl has all of it."""
    words = [
        f"step {metrics.step}/{num_steps}",
        f"loss {metrics.loss:.4f}",
        f"lr {metrics.learning_rate:.2e}",
        f"grad {metrics.grad_norm:.3g}",
        f"{si(metrics.tokens_per_second)} tok/s",
    ]
    if metrics.loss_scale == 1.0 and math.isfinite(metrics.matmul_share):  # a rehearsed device was not measured
        words.append(f"{metrics.matmul_share:.0%} of peak")
    elif metrics.loss_scale != 1.0:
        words.append(f"scale {metrics.loss_scale:.3g}")
    return " | ".join(words) + (" SKIPPED" if metrics.skipped else "")
