"""The loop: batch(step), one step, callbacks. It knows no layer of the network and no file format."""

from __future__ import annotations

import math
import platform
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import FrameType
from typing import Any

import mindspore as ms
import numpy as np
import numpy.typing as npt
from mindspore import Tensor

from pangu_alpha import __version__
from pangu_alpha.checkpoint import Checkpoint
from pangu_alpha.config import RunConfig, model_flops_per_token, tokens_per_step
from pangu_alpha.console import say
from pangu_alpha.data import Batch, TrainingData, ValidationData
from pangu_alpha.errors import CheckpointError, ConfigError, TrainingError
from pangu_alpha.model import build_network
from pangu_alpha.model.dtypes import compute_dtype
from pangu_alpha.training.callbacks import Callback
from pangu_alpha.training.evaluation import LossEvaluator
from pangu_alpha.training.loss_scale import LossScaler
from pangu_alpha.training.machine import matmul_rate
from pangu_alpha.training.metrics import StepMetrics
from pangu_alpha.training.optimizer import update_scalars
from pangu_alpha.training.schedule import learning_rate
from pangu_alpha.training.step import TrainStep
from pangu_alpha.training.workers import Agreement


@dataclass
class Progress:
    """Where a run is. All of it is in a checkpoint."""

    step: int = 0
    """Steps done, skipped ones included."""
    num_updates: int = 0
    """Steps that changed the parameters."""
    consumed_samples: int = 0
    """Samples used; the next batch begins here."""


class Trainer:
    """Trains one network on this process's share of every batch."""

    def __init__(
        self,
        config: RunConfig,
        training_data: TrainingData,
        validation_data: ValidationData | None,
        callbacks: Sequence[Callback],
        rank: int = 0,
    ) -> None:
        """Build the network and its step. The device is set and the workers are joined already.

        Args:
            callbacks: called in this order, on every rank.
            rank: this process's number among the data-parallel ones.

        Raises:
            ConfigError: an axis of the mesh that this backend cannot do.
        """
        if config.parallel.mp > 1 or config.parallel.pp > 1:
            raise ConfigError(
                f"parallel.mp={config.parallel.mp} and parallel.pp={config.parallel.pp}: this version trains with data "
                "parallelism only. Set parallel.mp=1 parallel.pp=1 and parallel.dp to the number of processes"
            )
        self.config, self.rank = config, rank
        self.training_data = training_data
        self.callbacks = tuple(callbacks)
        self.progress = Progress()
        self.stop_signal: int | None = None
        """The signal that asked the run to stop, once all ranks have agreed on it."""
        self.network = build_network(config.model, config.train.seed)
        self._step = TrainStep(self.network, config)
        self._evaluator = (
            None if validation_data is None else LossEvaluator(self.network, validation_data, config, rank)
        )
        initial_scale = config.loss_scale.initial if config.model.compute_dtype == "float16" else 1.0
        self.scaler = LossScaler(config.loss_scale, initial_scale)
        self._agreement = Agreement(config.parallel.dp)
        self._wanted_signal: int | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def run(self) -> None:
        """Train from the current progress to the last step, or until a signal.

        Raises:
            TrainingError: the loss is not finite; what was saved before is still there.
        """
        device_rate = matmul_rate(self.config.device, compute_dtype(self.config.model))
        matmul_flops = device_rate * self.config.parallel.num_devices
        with self._catching_signals():
            for callback in self.callbacks:
                callback.on_start(self)
            while self.progress.step < self.config.train.steps and self.stop_signal is None:
                metrics = self._train_one_step(matmul_flops)
                for callback in self.callbacks:
                    callback.on_step(self, metrics)
                self.stop_signal = self._agreement.largest(self._wanted_signal or 0) or None
            for callback in self.callbacks:
                callback.on_end(self)

    def validate(self) -> float | None:
        """Mean loss of a token of the validation data, or None when there is none."""
        return None if self._evaluator is None else self._evaluator.mean_loss()

    def state(self) -> dict[str, Any]:
        """What a checkpoint says about the run, apart from the tensors."""
        return {
            "progress": asdict(self.progress),
            "loss_scale": {"scale": self.scaler.scale, "good_steps": self.scaler.good_steps},
            "data_fingerprint": self.training_data.fingerprint,
            "tokenizer_fingerprint": self.training_data.tokenizer_fingerprint,
            "config": self.config.model_dump(mode="json"),
            "versions": {"pangu_alpha": __version__, "mindspore": ms.__version__, "python": platform.python_version()},
        }

    def tensors(self) -> dict[str, dict[str, npt.NDArray[np.float32]]]:
        """The parameters and the optimizer's moments, as `save_checkpoint` takes them."""
        optimizer = self._step.optimizer
        moments = (*optimizer.first_moments, *optimizer.second_moments)
        return {
            "weights": {item.name: item.asnumpy() for item in self.network.trainable_params()},
            "optimizer": {item.name: item.asnumpy() for item in moments},
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`.

        Raises:
            CheckpointError: it is of another network, or of other training data.
        """
        state = checkpoint.state
        if state["data_fingerprint"] != self.training_data.fingerprint:
            raise CheckpointError(
                f"{checkpoint.path} was trained on other data (files, weights, seq_length or seed differ): its place "
                "in the data means nothing here. Restore the data settings, or set output to a new directory"
            )
        optimizer = self._step.optimizer
        load_parameters(checkpoint, "weights", self.network.trainable_params())
        load_parameters(checkpoint, "optimizer", [*optimizer.first_moments, *optimizer.second_moments])
        self.progress = Progress(**state["progress"])
        self.scaler.scale = state["loss_scale"]["scale"]
        self.scaler.good_steps = state["loss_scale"]["good_steps"]

    def _train_one_step(self, matmul_flops: float) -> StepMetrics:
        config, progress = self.config, self.progress
        start = time.perf_counter()
        scheduled_rate = learning_rate(config.schedule, progress.step)
        scale = self.scaler.scale
        result = self._step(
            list(self._micro_batches()), update_scalars(config.optimizer, scheduled_rate, progress.num_updates), scale
        )
        if config.model.compute_dtype == "float16":
            self.scaler.update(result.skipped)
        elif not math.isfinite(result.loss + result.grad_norm):
            raise TrainingError(
                f"step {progress.step + 1}: loss {result.loss}, gradient norm {result.grad_norm}. The parameters are "
                "lost; the last checkpoint, if there is one, is good. Start again with a lower schedule.learning_rate"
            )
        progress.step += 1
        progress.num_updates += not result.skipped
        progress.consumed_samples += config.train.batch_size
        seconds = time.perf_counter() - start
        flops = model_flops_per_token(config.model) * tokens_per_step(config) / seconds
        return StepMetrics(
            step=progress.step,
            loss=result.loss,
            learning_rate=scheduled_rate,
            grad_norm=result.grad_norm,
            num_tokens=result.num_tokens,
            consumed_samples=progress.consumed_samples,
            seconds=seconds,
            tokens_per_second=result.num_tokens / seconds,
            model_flops_per_second=flops,
            matmul_share=flops / matmul_flops,
            loss_scale=scale,
            skipped=result.skipped,
        )

    def _micro_batches(self) -> Iterator[Batch]:
        """This rank's rows. Micro-batch m of all ranks together is the m-th part of the global batch."""
        train, dp = self.config.train, self.config.parallel.dp
        rows = train.batch_size // (train.num_micro_batches * dp)
        for micro_batch in range(train.num_micro_batches):
            first = self.progress.consumed_samples + (micro_batch * dp + self.rank) * rows
            yield self.training_data.samples(np.arange(first, first + rows))

    @contextmanager
    def _catching_signals(self) -> Iterator[None]:
        def remember(number: int, _frame: FrameType | None) -> None:
            if self._wanted_signal is not None:
                raise KeyboardInterrupt  # the second one means now
            self._wanted_signal = number
            if self.is_main:
                say(f"{signal.Signals(number).name}: finishing this step and saving; once more to stop at once")

        before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def load_parameters(checkpoint: Checkpoint, group: str, parameters: Sequence[ms.Parameter]) -> None:
    """Fill `parameters` with the tensors of the same names.

    Raises:
        CheckpointError: names or shapes differ.
    """
    wanted = {item.name: tuple(item.shape) for item in parameters}
    found = checkpoint.shapes.get(group, {})
    if wanted != found:
        name = next(name for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name))
        raise CheckpointError(
            f"{checkpoint.path} is of another network: {name} is {found.get(name, 'missing')} there and "
            f"{wanted.get(name, 'missing')} in the settings. Use the model settings it was trained with"
        )
    tensors = checkpoint.load(group)
    for item in parameters:
        item.set_data(Tensor(tensors[item.name]))
