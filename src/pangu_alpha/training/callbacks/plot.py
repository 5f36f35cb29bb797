"""Picture of a run, drawn from its records, so that earlier starts are in it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.files import written_aside
from pangu_alpha.records import Record, read_records
from pangu_alpha.run_folder import LOSS_PICTURE, METRICS
from pangu_alpha.training.callbacks.base import Callback
from pangu_alpha.training.callbacks.validation import read_validations
from pangu_alpha.training.metrics import StepMetrics

if TYPE_CHECKING:
    from pangu_alpha.training.trainer import Trainer


class PlotLoss(Callback):
    """Draws loss.png in the run's directory after each validation and at the end. It comes after `Validate`."""

    def on_start(self, trainer: Trainer) -> None:
        """Find out now, and not after the first validation, when the library is missing."""
        if trainer.is_main:
            import matplotlib  # noqa: F401

    def on_step(self, trainer: Trainer, metrics: StepMetrics) -> None:
        """Draw when it is time to validate, also where there is nothing to validate on."""
        if trainer.is_main and metrics.step % trainer.config.train.validate_every == 0:
            plot_run(trainer.config.output)

    def on_end(self, trainer: Trainer) -> None:
        """Draw the whole run."""
        if trainer.is_main:
            plot_run(trainer.config.output)


def plot_run(output: Path) -> None:
    """Draw the training and validation loss and the learning rate of the run in `output` as loss.png."""
    from matplotlib.figure import Figure  # only rank 0 draws, and should wait for it alone

    records = read_records(output / METRICS)
    validations = read_validations(output)
    figure = Figure(figsize=(8, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    steps = [record["step"] for record in records]
    upper.plot(steps, _values(records, "loss"), color="#7fa8d1", linewidth=0.8, label="training")
    upper.plot(
        [record["step"] for record in validations],
        _values(validations, "validation_loss"),
        color="#c1440e", marker="o", markersize=4, label="validation",
    )  # fmt: skip
    upper.set_ylabel("loss (nats a token)")
    upper.grid(alpha=0.3)
    upper.legend()
    last = next((record for record in reversed(validations) if record["validation_loss"] is not None), None)
    if last is not None:
        upper.set_title(f"step {last['step']}: validation loss {last['validation_loss']:.3f}", loc="left", fontsize=10)
    lower.plot(steps, _values(records, "learning_rate"), color="#555555", linewidth=1)
    lower.set_ylabel("learning rate")
    lower.set_xlabel("step")
    lower.grid(alpha=0.3)
    with written_aside(output / LOSS_PICTURE) as aside:
        figure.savefig(aside, dpi=120, format="png")


def _values(records: list[Record], name: str) -> list[float]:
    """A number that was not finite is null in a record, and a gap in the picture."""
    return [math.nan if record[name] is None else record[name] for record in records]
