"""Picture of a run, drawn from its records, so that earlier starts are in it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.console import say
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
            _draw(trainer.config.output)

    def on_end(self, trainer: Trainer) -> None:
        """Draw the whole run."""
        if trainer.is_main:
            _draw(trainer.config.output)


def _draw(output: Path) -> None:
    """Draw; a run does not end because its picture cannot be written."""
    try:
        plot_run(output)
    except OSError as error:
        say(f"{output / LOSS_PICTURE} was not drawn: {error.strerror or error}")


def plot_run(output: Path) -> None:
    """Draw the training and validation loss and the learning rate of the run in `output` as loss.png."""
    from matplotlib.figure import Figure  # only rank 0 draws, and should wait for it alone

    records = read_records(output / METRICS)
    validations = read_validations(output)
    figure = Figure(figsize=(8, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    validated = _curve(validations, "validation_loss")
    upper.plot(*_curve(records, "loss"), color="#7fa8d1", linewidth=0.8, label="training")
    upper.plot(*validated, color="#c1440e", marker="o", markersize=4, label="validation")
    upper.set_ylabel("loss (nats a token)")
    upper.grid(alpha=0.3)
    upper.legend()
    last = next(((step, loss) for step, loss in reversed(list(zip(*validated, strict=True))) if loss == loss), None)
    if last is not None:
        upper.set_title(f"step {last[0]}: validation loss {last[1]:.3f}", loc="left", fontsize=10)
    lower.plot(*_curve(records, "learning_rate"), color="#555555", linewidth=1)
    lower.set_ylabel("learning rate")
    lower.set_xlabel("step")
    lower.grid(alpha=0.3)
    with written_aside(output / LOSS_PICTURE) as aside:
        figure.savefig(aside, dpi=120, format="png")


def _curve(records: list[Record], name: str) -> tuple[list[int], list[float]]:
    """The steps and what the records say of them; those that say nothing that can be drawn are left out.

    A number that was not finite is null in a record, and a gap in the picture.
    """
    points = [(record.get("step"), record.get(name, "")) for record in records]
    drawn = [(step, math.nan if value is None else value) for step, value in points if type(step) is int]
    drawn = [(step, value) for step, value in drawn if type(value) in (int, float)]
    return [step for step, _ in drawn], [value for _, value in drawn]
