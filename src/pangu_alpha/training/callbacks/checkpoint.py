"""Saves the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.checkpoint import prune_checkpoints, save_checkpoint
from pangu_alpha.console import say
from pangu_alpha.run_folder import CHECKPOINTS
from pangu_alpha.training.callbacks.base import Callback
from pangu_alpha.training.metrics import StepMetrics

if TYPE_CHECKING:
    from pangu_alpha.training.trainer import Trainer


class SaveCheckpoints(Callback):
    """Every `train.checkpoint_every` steps and at the end; the newest good `train.keep_checkpoints` are kept."""

    def __init__(self) -> None:
        self._saved: set[Path] = set()
        self._last_step: int | None = None
        """Of the newest that this start has saved: its last step may be one of the regular ones, too."""

    def on_step(self, trainer: Trainer, metrics: StepMetrics) -> None:
        """Save when it is time."""
        if metrics.step % trainer.config.train.checkpoint_every == 0:
            self._save(trainer)

    def on_end(self, trainer: Trainer) -> None:
        """Save the last step, also when a signal made it the last."""
        self._save(trainer)
        if trainer.is_main:
            say(f"checkpoint of step {trainer.progress.step} in {trainer.config.output / CHECKPOINTS}")

    def _save(self, trainer: Trainer) -> None:
        if self._last_step == trainer.progress.step:
            return
        self._last_step = trainer.progress.step
        with trainer.phase("saving"):
            tensors = trainer.tensors()
            if trainer.is_main:
                root = trainer.config.output / CHECKPOINTS
                self._saved.add(save_checkpoint(root, trainer.progress.step, tensors, trainer.state()))
                prune_checkpoints(root, trainer.config.train.keep_checkpoints, known_good=self._saved)
