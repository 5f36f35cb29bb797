"""Reports sudden rises of the loss or the gradient, with the samples of the step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pangu_alpha.console import say
from pangu_alpha.records import append_record
from pangu_alpha.run_folder import SPIKES
from pangu_alpha.training.callbacks.base import Callback
from pangu_alpha.training.metrics import StepMetrics

if TYPE_CHECKING:
    from pangu_alpha.training.trainer import Trainer


class ReportSpikes(Callback):
    """A line on the terminal and in spikes.jsonl for each step far above the last ones."""

    def on_step(self, trainer: Trainer, metrics: StepMetrics) -> None:
        """Tell those of the step."""
        if not trainer.is_main:
            return
        samples = [metrics.first_sample, metrics.consumed_samples - 1]
        for spike in trainer.last_spikes:
            done = "; the step was skipped" if metrics.skipped else ""
            say(
                f"step {metrics.step}: {spike.name} {spike.value:.3f} is a spike (mean {spike.mean:.3f}); samples "
                f"{samples[0]} to {samples[1]}{done}"
            )
            record = {"step": metrics.step, **vars(spike), "samples": samples, "skipped": metrics.skipped}
            append_record(trainer.config.output / SPIKES, record)
