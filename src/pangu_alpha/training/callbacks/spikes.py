"""Reports sudden rises of the loss or the gradient, with the samples of the step."""

from __future__ import annotations

import statistics
from collections import deque
from typing import TYPE_CHECKING

from pangu_alpha.console import say
from pangu_alpha.records import append_record
from pangu_alpha.run_folder import SPIKES
from pangu_alpha.training.callbacks.base import Callback
from pangu_alpha.training.metrics import StepMetrics

if TYPE_CHECKING:
    from pangu_alpha.training.trainer import Trainer

WINDOW = 128
"""Steps that a value is compared with."""
SIGMAS = 6.0
"""Standard deviations above their mean that make a spike."""


class ReportSpikes(Callback):
    """A line on the terminal and in spikes.jsonl for each step far above the last ones."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = {name: deque(maxlen=WINDOW) for name in ("loss", "grad_norm")}

    def on_step(self, trainer: Trainer, metrics: StepMetrics) -> None:
        """Compare the step with the last ones."""
        if not trainer.is_main or metrics.skipped:
            return
        for name, recent in self._recent.items():
            value = getattr(metrics, name)
            if is_spike(value, recent):
                last = metrics.consumed_samples - 1
                first = metrics.first_sample
                mean = statistics.fmean(recent)
                say(f"step {metrics.step}: {name} {value:.3f} is a spike (mean {mean:.3f}); samples {first} to {last}")
                record = {"step": metrics.step, "name": name, "value": value, "mean": mean, "samples": [first, last]}
                append_record(trainer.config.output / SPIKES, record)
                trainer.last_spike = metrics.step
            recent.append(value)


def is_spike(value: float, recent: deque[float]) -> bool:
    """Whether `value` lies more than `SIGMAS` standard deviations above the mean of a full window of `recent`."""
    if len(recent) < WINDOW:
        return False
    return value > statistics.fmean(recent) + SIGMAS * statistics.pstdev(recent)
