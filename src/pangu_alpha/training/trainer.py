"""Training loop: the next samples, one step, callbacks. It knows no layer of the network and no backend."""

from __future__ import annotations

import math
import platform
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

from pangu_alpha import __version__
from pangu_alpha.checkpoint import Checkpoint, Health, Values, candidates, list_checkpoints, remove_unfinished
from pangu_alpha.config import RunConfig, model_flops_per_token, tokens_per_step
from pangu_alpha.console import say, signal_name
from pangu_alpha.data import HeldOut, TrainingData, next_numbers
from pangu_alpha.errors import CheckpointError, DamagedError, TrainingError
from pangu_alpha.parallel.parameters import Shape, row_of, tensor_names
from pangu_alpha.run_folder import CHECKPOINTS
from pangu_alpha.training.backend import Backend
from pangu_alpha.training.callbacks import Callback
from pangu_alpha.training.learning_rate import learning_rate
from pangu_alpha.training.loss_scale import SMALLEST, LossScaler
from pangu_alpha.training.metrics import StepMetrics
from pangu_alpha.training.result import StepResult
from pangu_alpha.training.resuming import require_same_run
from pangu_alpha.training.scalars import update_scalars
from pangu_alpha.training.spikes import Spike, SpikeDetector
from pangu_alpha.training.starting import load_weights
from pangu_alpha.training.workers import Workers

_ONE_SIGNAL = 1.0
"""Seconds within which several signals mean what one does: a process that is killed signals its children once for each
of its threads."""


@dataclass
class Progress:
    """Where a run is. All of it is in a checkpoint."""

    step: int = 0
    """Steps done, skipped ones included."""
    num_updates: int = 0
    """Steps that changed the parameters."""
    consumed_samples: int = 0
    """Samples used or left out; the next batch begins here."""


class Trainer:
    """Trains one network."""

    def __init__(
        self,
        config: RunConfig,
        training_data: TrainingData,
        backend: Backend,
        callbacks: Sequence[Callback],
        report: Callable[[str, int], None] = lambda phase, step: None,
    ) -> None:
        """Args:
        config: of the run.
        training_data: of the run.
        backend: computes the steps; it has the starting weights.
        callbacks: called in this order, on every rank.
        report: told what this rank does (compiling, training, validating, saving) and the number of steps done.
        """
        self.config = config
        self.training_data = training_data
        self.callbacks = tuple(callbacks)
        self.progress = Progress()
        self.stop_signal: int | None = None
        """The signal that asked the run to stop, once all ranks have agreed on it."""
        self.measured: dict[str, float] = {}
        """What callbacks have measured after the last step, by name, for those after them."""
        self.spikes = SpikeDetector(config.spikes)
        self.last_spikes: list[Spike] = []
        """Those of the last step."""
        self.damaged: set[Path] = set()
        """Checkpoints of the run that could not be read to the end."""
        self.attempt = backend.workers.attempt()
        """This start's name, the same on all ranks."""
        self._backend = backend
        initial_scale = config.loss_scale.initial if config.model.compute_dtype == "float16" else 1.0
        self.scaler = LossScaler(config.loss_scale, initial_scale)
        self._report = report
        self._wanted_signal: int | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes down what is not a rank's own."""
        return self._backend.is_main

    @property
    def account(self) -> Mapping[str, float] | None:
        """What this rank has needed so far, see `Backend`."""
        return None if self._backend.account is None else self._backend.account()

    @property
    def workers(self) -> Workers:
        """What the processes of the job agree by."""
        return self._backend.workers

    @property
    def shapes(self) -> dict[str, Shape]:
        """Of all weights and moments, without padding."""
        return {name: row_of(name).shape(self.config.model) for name in tensor_names(self.config.model)}

    def run(self) -> None:
        """Train from the current progress to the last step, or until a signal.

        Raises:
            ConfigError: the ranks of the job have different settings.
            TrainingError: the loss is not finite, or every step overflows; what was saved before is still there.
        """
        self.workers.require_equal(self.config.model_dump_json())
        with self._catching_signals(), ExitStack() as stack:
            for callback in self.callbacks:
                stack.callback(callback.close)
                callback.on_start(self)
            self._report("compiling", self.progress.step)
            while self.progress.step < self.config.train.steps and self.stop_signal is None:
                with self._ending_in_a_step():
                    metrics = self._train_one_step()
                self._report("training", self.progress.step)
                for callback in self.callbacks:
                    callback.on_step(self, metrics)
                self.stop_signal = self.workers.largest(self._wanted_signal or 0) or None
            for callback in self.callbacks:
                callback.on_end(self)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Report that this rank does `name` instead of training."""
        self._report(name, self.progress.step)
        yield
        self._report("training", self.progress.step)

    def mean_loss(self, data: HeldOut) -> float:
        """Of a token of validation data, in nats. The backend was made to measure.

        Raises:
            TrainingError: the loss is not finite.
        """
        assert self._backend.mean_loss is not None
        loss = self._backend.mean_loss(data)
        if not math.isfinite(loss):
            raise TrainingError(
                f"step {self.progress.step}: the validation loss is {loss}: the weights have grown too large for some "
                "text, and this step was not saved. Remove the last checkpoints if they are after the loss began to "
                "rise, and start again with a lower schedule.learning_rate"
            )
        return loss

    def state(self) -> dict[str, Any]:
        """What a checkpoint says about the run, apart from the tensors."""
        return {
            "progress": asdict(self.progress),
            "loss_scale": self.scaler.state(),
            "spikes": self.spikes.state(),
            "data_fingerprint": self.training_data.fingerprint,
            "tokenizer_fingerprint": self.training_data.tokenizer_fingerprint,
            "config": self.config.model_dump(mode="json"),
            "versions": {
                "pangu_alpha": __version__,
                "mindspore": version("mindspore"),
                "python": platform.python_version(),
            },
        }

    def health(self, metrics: StepMetrics) -> Health:
        """How the run is after the step of `metrics`."""
        return Health(metrics.loss, metrics.grad_norm, metrics.spike)

    @property
    def values(self) -> dict[int, Values]:
        """For each rank that this process plays, what gives the values of what it holds."""
        return {rank: partial(self._backend.step.values, rank) for rank in self._backend.step.ranks}

    def require_equal_copies(self) -> None:
        """Compare weights and moments on the ranks that hold the same part of them. All ranks must ask.

        Raises:
            LayoutError: two ranks hold other values.
        """
        self._backend.step.require_equal_copies()

    def resume(self) -> None:
        """Go on from the best checkpoint of the run that all ranks can read; start anew when there is none.

        Raises:
            CheckpointError: it is of another network or of other training data, all are damaged, or the ranks do not
                see the same ones.
        """
        root = self.config.output / CHECKPOINTS
        if self.is_main:
            remove_unfinished(root, self.attempt)
        self.workers.largest(0)  # now every checkpoint has its name
        found = candidates(root, say if self.is_main else lambda line: None)
        while True:
            checkpoint = next(found, None)
            self._require_same(root, checkpoint)
            if checkpoint is None:
                break
            is_damaged = False
            try:
                self.restore(checkpoint)
            except DamagedError as error:
                is_damaged = True
                say(f"skipping a checkpoint: {error}")
            finally:
                checkpoint.close()
            if not self.workers.largest(int(is_damaged)):
                return
            self.damaged.add(checkpoint.path)
        if list_checkpoints(root):
            raise CheckpointError(
                f"all checkpoints under {root} are damaged, or have weights whose loss is not finite. Remove them to "
                "start anew"
            )

    def start_from(self, path: Path) -> None:
        """Start with the weights of a checkpoint, or of a run's output, unless this run has gone on from its own.

        Raises:
            CheckpointError: they are of another network, or the ranks see different ones.
            TokenizerError: they belong to another tokenizer than the training data.
        """
        if self.progress.step:
            if self.is_main:
                say(f"--weights {path} is not read: this run has begun, and goes on from its own checkpoint")
            return
        tokenizer = self.training_data.tokenizer_fingerprint
        found = load_weights(path, self._backend.step.load, self.workers, self.config.model, tokenizer)
        if self.is_main:
            say(f"starting with the weights of {found.path}: step 0, moments of 0, the first sample")

    def _require_same(self, root: Path, checkpoint: Checkpoint | None) -> None:
        """Refuse ranks that would go on from different places: their sums would mean nothing."""
        mine = "none" if checkpoint is None else f"step {checkpoint.step}"
        if not self.workers.is_equal(f"{mine} {checkpoint.index.checksum if checkpoint else ''}"):
            raise CheckpointError(
                f"the ranks of this job do not see the same checkpoints in {root}: this one would go on from {mine}. "
                "Where the hosts share that folder, start again in a minute: file systems remember what was not there. "
                "Where they do not, set output to one that they share, or copy the newest checkpoint to each host"
            )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `checkpoint`.

        Raises:
            CheckpointError: it is of another network, or of other training data.
        """
        for line in require_same_run(checkpoint, self.config, self.training_data.fingerprint):
            if self.is_main:
                say(f"other than before: {line}")
        checkpoint.require(self.shapes)
        self._backend.step.load(checkpoint.read)
        self.progress = Progress(**checkpoint.of_run("progress"))
        self.scaler.restore(checkpoint.of_run("loss_scale"))
        if "spikes" in checkpoint.state:  # not yet in those of earlier versions
            self.spikes.restore(checkpoint.state["spikes"])

    def _train_one_step(self) -> StepMetrics:
        config, progress = self.config, self.progress
        self.measured = {}
        start = time.perf_counter()
        # Of the updates made, not of the steps: the first steps in float16 only look for a loss scale.
        scheduled_rate = learning_rate(config.schedule, progress.num_updates)
        scale = self.scaler.scale
        numbers = next_numbers(progress.consumed_samples, config.train.batch_size, config.data.skip_samples)
        batch = self.training_data.samples(numbers)
        result = self._backend.step(
            batch,
            int(batch.loss_mask.sum()),
            update_scalars(config.optimizer, scheduled_rate, progress.num_updates, self.spikes.limits),
            scale,
        )
        if config.model.compute_dtype == "float16":
            self.scaler.update(result.skipped and not result.is_spike)
        self.last_spikes = self.spikes.take(result)
        self._require_hope(result)
        progress.step += 1
        progress.num_updates += not result.skipped
        progress.consumed_samples = int(numbers[-1]) + 1
        seconds = time.perf_counter() - start
        flops = model_flops_per_token(config.model) * tokens_per_step(config) / seconds
        return StepMetrics(
            step=progress.step,
            loss=result.loss,
            learning_rate=scheduled_rate,
            grad_norm=result.grad_norm,
            num_tokens=result.num_tokens,
            first_sample=int(numbers[0]),
            consumed_samples=progress.consumed_samples,
            seconds=seconds,
            tokens_per_second=result.num_tokens / seconds,
            model_flops_per_second=flops,
            matmul_share=flops / self._backend.matmul_flops,
            loss_scale=scale,
            skipped=result.skipped,
            spike=bool(self.last_spikes),
        )

    def _require_hope(self, result: StepResult) -> None:
        """Refuse to go on after a step whose loss is lost, or after many that changed nothing."""
        number = self.progress.step + 1
        if self.spikes.is_hopeless:
            raise TrainingError(
                f"step {number}: {self.spikes.num_skipped} steps in a row were skipped as spikes (the last: loss "
                f"{result.loss:.4g}, gradient norm {result.grad_norm:.4g}): the run has left its course. Remove the "
                "last checkpoints and leave out their samples with data.skip_samples, raise spikes.sigmas, or set "
                "spikes.skip=false"
            )
        if result.is_spike:
            return
        if not math.isfinite(result.loss) or (not result.skipped and not math.isfinite(result.grad_norm)):
            for callback in self.callbacks:
                callback.on_lost(self)
            raise TrainingError(
                f"step {number}: loss {result.loss}, gradient norm {result.grad_norm}. The run has diverged, and this "
                "step was not saved. Start again with a lower schedule.learning_rate: it goes on from the last "
                "checkpoint whose loss is finite, or from the beginning where there is none"
            )
        if self.scaler.is_hopeless:
            raise TrainingError(
                f"step {number}: the gradients of the last {self.scaler.hopeless_steps} steps overflowed in float16 "
                f"although the loss scale is {SMALLEST:g}, so that nothing is learnt any more. The loss of the last "
                "checkpoint is finite; start again with a lower schedule.learning_rate, or with "
                "model.compute_dtype=bfloat16 or float32 in a new output directory"
            )

    @contextmanager
    def _ending_in_a_step(self) -> Iterator[None]:
        """A step that fails once a signal has come is an end, not a failure: the signal has reached the processes too
        that MindSpore compiles kernels with, or other ranks, without which no step can be finished."""
        try:
            yield
        except RuntimeError as error:
            if self._wanted_signal is None:
                raise
            what = (str(error).strip() or "RuntimeError").splitlines()[0]
            say(
                f"stopped by {signal_name(self._wanted_signal)}: step {self.progress.step + 1} cannot be finished any "
                f"more ({what}). The same command goes on from the last checkpoint"
            )
            raise SystemExit(128 + self._wanted_signal) from error

    @contextmanager
    def _catching_signals(self) -> Iterator[None]:
        first = math.inf

        def remember(number: int, _frame: FrameType | None) -> None:
            nonlocal first
            if self._wanted_signal is not None:
                if time.monotonic() - first < _ONE_SIGNAL:
                    return
                raise KeyboardInterrupt  # the second one means now
            self._wanted_signal, first = number, time.monotonic()
            if self.is_main:
                say(f"{signal_name(number)}: finishing this step and saving; once more to stop at once")

        before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
