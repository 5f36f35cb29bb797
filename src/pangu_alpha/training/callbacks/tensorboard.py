"""TensorBoard events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pangu_alpha.run_folder import TENSORBOARD
from pangu_alpha.training.callbacks.base import Callback
from pangu_alpha.training.metrics import StepMetrics

if TYPE_CHECKING:
    from tensorboard.summary import Writer

    from pangu_alpha.training.trainer import Trainer

_SCALARS = ("loss", "learning_rate", "grad_norm", "tokens_per_second", "matmul_share", "loss_scale")


class WriteTensorBoard(Callback):
    """Scalars of every step under tensorboard/ in the run's directory, and what callbacks before this one measure."""

    _writer: Writer

    def on_start(self, trainer: Trainer) -> None:
        """Open a new event file beside those of earlier starts."""
        if trainer.is_main:
            from tensorboard.summary import Writer  # the other ranks should not wait for it

            self._writer = Writer(str(trainer.config.output / TENSORBOARD))

    def on_step(self, trainer: Trainer, metrics: StepMetrics) -> None:
        """Write the scalars."""
        if not trainer.is_main:
            return
        for name in _SCALARS:
            self._writer.add_scalar(f"train/{name}", getattr(metrics, name), metrics.step)
        for name, value in trainer.measured.items():
            self._writer.add_scalar(name, value, metrics.step)
        if metrics.step % trainer.config.train.validate_every == 0:
            self._writer.flush()

    def on_end(self, trainer: Trainer) -> None:
        """Close the event file."""
        if trainer.is_main:
            self._writer.close()
