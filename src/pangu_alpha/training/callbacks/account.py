"""Writes down what each rank has needed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pangu_alpha.files import write_text
from pangu_alpha.records import to_json
from pangu_alpha.run_folder import ACCOUNTS
from pangu_alpha.training.callbacks.base import Callback
from pangu_alpha.training.metrics import StepMetrics

if TYPE_CHECKING:
    from pangu_alpha.training.trainer import Trainer


class WriteAccount(Callback):
    """A file a rank, at the end: the seconds of its start and of its steps, and the memory at its peak."""

    def __init__(self) -> None:
        self._begin = 0.0
        self._num_steps, self._step_seconds = 0, 0.0

    def on_start(self, trainer: Trainer) -> None:
        """The first step begins."""
        self._begin = time.monotonic()

    def on_step(self, trainer: Trainer, metrics: StepMetrics) -> None:
        """Count it."""
        self._num_steps += 1
        self._step_seconds += metrics.seconds

    def on_end(self, trainer: Trainer) -> None:
        """Write, after everything else is done."""
        if (account := trainer.account) is None:
            return
        folder = trainer.config.output / ACCOUNTS
        folder.mkdir(parents=True, exist_ok=True)
        for rank in trainer.values:
            values = {
                "rank": rank,
                **account,
                "num_steps": self._num_steps,
                "step_seconds": self._step_seconds,
                "training_seconds": time.monotonic() - self._begin,
            }
            write_text(folder / f"rank_{rank:05d}.json", to_json(values, indent=2) + "\n")
