"""metrics.jsonl: one line a step, one a validation."""

from __future__ import annotations

from dataclasses import asdict
from typing import IO, TYPE_CHECKING

from pangu_alpha.console import say
from pangu_alpha.records import drop_after, to_json
from pangu_alpha.run_folder import METRICS, PLANNED_SECONDS
from pangu_alpha.training.callbacks.base import Callback
from pangu_alpha.training.metrics import StepMetrics

if TYPE_CHECKING:
    from pangu_alpha.training.trainer import Trainer


class WriteMetrics(Callback):
    """Appends every step to metrics.jsonl in the run's directory.

    A run that goes on from a checkpoint first drops the lines of later steps: it will do those steps again.
    """

    _file: IO[str]

    def __init__(self, planned_seconds: float | None = None) -> None:
        """Args:
        planned_seconds: what the planner expects of a step, to stand beside what it took.
        """
        self._planned = {} if planned_seconds is None else {PLANNED_SECONDS: planned_seconds}

    def on_start(self, trainer: Trainer) -> None:
        """Open the file."""
        if trainer.is_main:
            path = trainer.config.output / METRICS
            path.parent.mkdir(parents=True, exist_ok=True)
            drop_after(path, trainer.progress.step, say)
            self._file = path.open("a", encoding="utf-8")

    def on_step(self, trainer: Trainer, metrics: StepMetrics) -> None:
        """Write the step's line."""
        if trainer.is_main:
            self._file.write(to_json(asdict(metrics) | self._planned) + "\n")
            self._file.flush()

    def on_end(self, trainer: Trainer) -> None:
        """Close the file."""
        if trainer.is_main:
            self._file.close()
