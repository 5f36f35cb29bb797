"""Looks at the validation data now and then."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pangu_alpha.config import perplexity
from pangu_alpha.console import say
from pangu_alpha.data import HeldOut
from pangu_alpha.records import append_record, drop_after, read_records
from pangu_alpha.run_folder import VALIDATIONS
from pangu_alpha.training.callbacks.base import Callback
from pangu_alpha.training.metrics import StepMetrics

if TYPE_CHECKING:
    from pangu_alpha.training.trainer import Trainer


LOSS_NAME = "validation/loss"
"""Of what `Validate` measures, for the callbacks after it."""


class Validate(Callback):
    """Writes the loss on all validation data to validation.jsonl, every `train.validate_every` steps and at the end."""

    def __init__(self, data: HeldOut) -> None:
        """Measure on `data`."""
        self._data = data

    def on_start(self, trainer: Trainer) -> None:
        """Forget validations of steps that will be done again."""
        if trainer.is_main:
            trainer.config.output.mkdir(parents=True, exist_ok=True)
            drop_after(trainer.config.output / VALIDATIONS, trainer.progress.step, say)

    def on_step(self, trainer: Trainer, metrics: StepMetrics) -> None:
        """Validate when it is time."""
        train = trainer.config.train
        if metrics.step % train.validate_every and metrics.step != train.steps:
            return
        with trainer.phase("validating"):
            loss = trainer.mean_loss(self._data)
        trainer.measured[LOSS_NAME] = loss
        if not trainer.is_main:
            return
        record = {"step": metrics.step, "validation_loss": loss, "perplexity": perplexity(loss)}
        append_record(trainer.config.output / VALIDATIONS, record)
        say(f"step {metrics.step}: validation loss {loss:.4f}, perplexity {record['perplexity']:.2f} a token")


def read_validations(output: Path) -> list[dict[str, Any]]:
    """The records of validation.jsonl in a run's directory."""
    return read_records(output / VALIDATIONS)
