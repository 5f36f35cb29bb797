"""Saves the run."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.checkpoint import Save, Values, commit, mark_lost, open_checkpoint, prune, save_part, step_name
from pangu_alpha.checkpoint.saving import PATIENCE
from pangu_alpha.console import say
from pangu_alpha.errors import CheckpointError
from pangu_alpha.files import remove
from pangu_alpha.parallel.parts import Box, owned_boxes
from pangu_alpha.records import append_record, drop_after
from pangu_alpha.run_folder import CHECKPOINTS, SAVES
from pangu_alpha.training.callbacks.base import Callback
from pangu_alpha.training.callbacks.validation import LOSS_NAME
from pangu_alpha.training.metrics import StepMetrics
from pangu_alpha.training.shared_folder import is_shared

if TYPE_CHECKING:
    from pangu_alpha.training.trainer import Trainer
    from pangu_alpha.training.workers import Workers


CLOSING_PATIENCE = 10.0
"""Seconds for the other ranks' parts when a rank has died, or the run ends by an error or a second signal."""


@dataclass(frozen=True)
class Saved:
    """What saves.jsonl says of a checkpoint. The names are its keys."""

    step: int
    blocked_seconds: float
    """During which rank 0 did not train."""
    seconds: float
    """Until the checkpoint was complete."""
    num_bytes: int
    """Of all ranks."""
    megabytes_per_second: float


@dataclass(frozen=True)
class _Running:
    """A save that is being written."""

    step: int
    bytes: Future[tuple[int, float]]
    """Those of the checkpoint, and when it was complete."""
    begin: float
    blocked_seconds: float


class SaveCheckpoints(Callback):
    """Every `train.checkpoint_every` steps or `train.checkpoint_minutes`, and at the end.

    Each rank copies what it owns and writes it while the training goes on, unless `train.background_saving` is off.
    Rank 0 then makes a checkpoint of all parts, removes those that are not to be kept, and adds a line to saves.jsonl.
    A checkpoint does not count as one of those until validation or the next step has found its loss finite: the loss
    that it was saved with is that of the weights before.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Args:
        clock: in seconds.
        """
        self._clock = clock
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._closing = threading.Event()
        self._running: _Running | None = None
        self._last_step: int | None = None
        """Of the newest that this start has saved: its last step may be one of the regular ones, too."""
        self._last_time = 0.0
        self._unproven: set[Path] = set()
        """Those whose loss is not known yet."""
        self._pruning: Future[None] | None = None
        self._metrics: StepMetrics | None = None
        self._num_writers = 1
        self._boxes: dict[int, dict[str, Box]] = {}
        """What each rank of this process writes, where it writes something."""

    def on_start(self, trainer: Trainer) -> None:
        """Find out who writes what.

        Raises:
            CheckpointError: no rank has everything, and not all see the folder of the checkpoints.
        """
        self._last_time = self._clock()
        config, root = trainer.config, trainer.config.output / CHECKPOINTS
        if trainer.is_main:
            drop_after(config.output / SAVES, trainer.progress.step, say)
        if is_shared(root, trainer.attempt, trainer.workers, trainer.is_main):
            self._num_writers = config.parallel.num_devices
            self._boxes = {rank: owned_boxes(config.model, config.parallel, rank) for rank in trainer.values}
        elif config.parallel.num_devices == config.parallel.dp and not config.parallel.optimizer_sharding:
            self._num_writers = 1
            self._boxes = {0: {name: Box.all_of(shape) for name, shape in trainer.shapes.items()}}
            if trainer.is_main:
                say(f"the hosts do not share {root}: rank 0, which has everything, writes all of each checkpoint")
        else:
            raise CheckpointError(
                f"the hosts of this job do not share {root}, and each rank has only a part of the network: nobody "
                "could make a checkpoint of the parts. Set output to a folder that all hosts see"
            )

    def on_step(self, trainer: Trainer, metrics: StepMetrics) -> None:
        """Save when it is time.

        Raises:
            CheckpointError: this save, or the last one in the background, failed.
            TrainingError: a tensor is not finite.
        """
        if self._unproven and math.isfinite(metrics.loss):
            self._unproven = set()
            if trainer.is_main:
                self._pruning = self._writer.submit(_pruner_of(trainer, set()))
        if not metrics.skipped:  # the norm of one that was is not finite
            self._metrics = metrics
        if self._running is not None and self._running.bytes.done():
            self._finish(trainer)
        if self._is_time(trainer, metrics.step):
            self._save(trainer)

    def on_end(self, trainer: Trainer) -> None:
        """Save the last step, also when a signal made it the last, and wait until it is on the disk.

        Raises:
            CheckpointError: this save, or the last one in the background, failed.
            TrainingError: a tensor is not finite, or rank 0 has not made a checkpoint of the parts.
        """
        self._save(trainer)
        self._finish(trainer)
        trainer.workers.largest(0)  # no rank ends well before the checkpoint is there
        if trainer.is_main:
            say(f"checkpoint of step {trainer.progress.step} in {trainer.config.output / CHECKPOINTS}")

    def on_lost(self, trainer: Trainer) -> None:
        """Mark the checkpoint of the step before, if there is one: its weights are what gives no finite loss."""
        if self._running is not None:
            self._running.bytes.exception()  # waits; `close` tells it
        if trainer.is_main:
            mark_lost(_folder_of(trainer))

    def close(self) -> None:
        """Let a save that is being written come to its end; whom it waits for has little time left. Tell its error."""
        self._closing.set()
        self._writer.shutdown()
        if self._running is not None and (error := self._running.bytes.exception()) is not None:
            say(f"the checkpoint of step {self._running.step} was not saved: {error}")

    def _patience(self, workers: Workers) -> float:
        return CLOSING_PATIENCE if self._closing.is_set() or workers.has_lost() else PATIENCE

    def _is_time(self, trainer: Trainer, step: int) -> bool:
        train = trainer.config.train
        if step % train.checkpoint_every == 0:
            return True
        if train.checkpoint_minutes is None:
            return False
        is_late = trainer.is_main and self._clock() - self._last_time >= 60 * train.checkpoint_minutes
        return bool(trainer.workers.largest(is_late))

    def _save(self, trainer: Trainer) -> None:
        if self._last_step == trainer.progress.step:
            return
        self._last_step, self._last_time = trainer.progress.step, self._clock()
        begin = time.perf_counter()
        with trainer.phase("saving"):
            self._finish(trainer)
            trainer.require_equal_copies()
            in_background = trainer.config.train.background_saving
            parts = {
                rank: (boxes, _copied(boxes, trainer.values[rank]) if in_background else trainer.values[rank])
                for rank, boxes in self._boxes.items()
                if rank in trainer.values
            }
            patience = partial(self._patience, trainer.workers)
            self._unproven.add(_folder_of(trainer))
            if LOSS_NAME in trainer.measured:  # which is never one that is not finite
                self._unproven = set()
            pruned = _pruner_of(trainer, self._unproven)
            writing = self._writer.submit(
                _writer_of(trainer, self._metrics, parts, self._num_writers, patience, pruned)
            )
            if not in_background:
                writing.exception()  # waits for the end; the error is raised below
            self._running = _Running(trainer.progress.step, writing, begin, time.perf_counter() - begin)
            if not in_background:
                self._finish(trainer)

    def _finish(self, trainer: Trainer) -> None:
        """Wait for the save that is being written, and raise its error."""
        if self._pruning is not None:
            pruning, self._pruning = self._pruning, None
            pruning.result()
        if self._running is None:
            return
        running, self._running = self._running, None
        num_bytes, end = running.bytes.result()
        trainer.damaged.discard(trainer.config.output / CHECKPOINTS / step_name(running.step))
        if trainer.is_main:
            seconds = end - running.begin
            saved = Saved(running.step, running.blocked_seconds, seconds, num_bytes, num_bytes / seconds / 1e6)
            append_record(trainer.config.output / SAVES, vars(saved))


def _writer_of(
    trainer: Trainer,
    metrics: StepMetrics | None,
    parts: Mapping[int, tuple[Mapping[str, Box], Values]],
    num_writers: int,
    patience: Callable[[], float],
    pruned: Callable[[], None],
) -> Callable[[], tuple[int, float]]:
    """What writes the run as it is now, and gives the bytes of the checkpoint (0 where another process commits it) and
    the time of its end."""
    root, step = trainer.config.output / CHECKPOINTS, trainer.progress.step
    save = Save(root, step, trainer.attempt)
    shapes, state = trainer.shapes, trainer.state()
    health = None if metrics is None else trainer.health(metrics)

    def write() -> tuple[int, float]:
        try:
            for rank, (boxes, values) in parts.items():
                save_part(save, rank, boxes, values)
        except BaseException:
            if trainer.is_main:  # nobody will use what the other ranks have written
                remove(save.folder)
            raise
        if not trainer.is_main:
            return 0, time.perf_counter()
        path = commit(save, num_writers, shapes, state, health, patience)
        pruned()
        return open_checkpoint(path).num_bytes, time.perf_counter()

    return write


def _folder_of(trainer: Trainer) -> Path:
    """Of the checkpoint of the step that the run has come to."""
    return trainer.config.output / CHECKPOINTS / step_name(trainer.progress.step)


def _pruner_of(trainer: Trainer, unproven: Set[Path]) -> Callable[[], None]:
    """What removes the checkpoints that are not to be kept, now and with one of this step."""
    train, own = trainer.config.train, _folder_of(trainer)
    return partial(
        prune,
        own.parent,
        train.keep_checkpoints,
        step=trainer.progress.step,
        keep_every=train.keep_every,
        damaged=frozenset(trainer.damaged) - {own} | unproven,
        attempt=trainer.attempt,
    )


def _copied(boxes: Mapping[str, Box], values: Values) -> Values:
    """The values of now, for later: the next step changes what `values` gives."""
    copies = {name: np.array(found, np.float32) for name, found in zip(boxes, values(boxes), strict=True)}

    def give(boxes: Mapping[str, Box]) -> Iterable[NDArray[np.floating]]:
        return (copies.pop(name) for name in boxes)  # each is free as soon as it is written

    return give
