"""A rank of a job whose device is a few lines of NumPy: everything else is what `pangu train` runs on a rank.

The words are a JSON object: rank, overrides (of the recipe in this folder), fault. What it holds are the slices of the
layout, and a step changes each element by itself, so that every mesh computes the same to the bit.
"""

from __future__ import annotations

import ctypes
import hashlib
import itertools
import json
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.checkpoint import retention, saving
from pangu_alpha.checkpoint.index import INDEX
from pangu_alpha.cli.backends import alone
from pangu_alpha.config import RunConfig, load_config
from pangu_alpha.console import say
from pangu_alpha.data import Batch, open_training_data
from pangu_alpha.errors import PanguError
from pangu_alpha.files import aside_of
from pangu_alpha.parallel.parts import Box, held_tensors, without_padding
from pangu_alpha.parallel.start import starting_values
from pangu_alpha.training.backend import Backend, Read
from pangu_alpha.training.callbacks import checkpoint as saves
from pangu_alpha.training.callbacks.metrics_file import WriteMetrics
from pangu_alpha.training.meeting import Meeting
from pangu_alpha.training.result import StepResult
from pangu_alpha.training.scalars import UpdateScalars
from pangu_alpha.training.trainer import Trainer
from pangu_alpha.training.workers import Alone, Workers

STEP_SECONDS = 0.005
LIMIT = 1 << 12
"""Bytes of a file where the disk is full."""


class Slices:
    """See `Step`."""

    def __init__(self, config: RunConfig, rank: int, workers: Workers) -> None:
        self.config, self.rank, self.workers = config, rank, workers
        self.held = held_tensors(config.model, config.parallel, rank)
        self.tensors: dict[str, NDArray[np.float32]] = {}
        self.load(starting_values(config))

    def __call__(self, batch: Batch, num_tokens: int, scalars: UpdateScalars, loss_scale: float) -> StepResult:
        time.sleep(STEP_SECONDS)
        digest = hashlib.sha256(b"".join(item.tobytes() for item in batch.arrays())).digest()
        value = np.float32(int.from_bytes(digest[:2], "big") / 65536)
        for name, tensor in self.tensors.items():
            self.tensors[name] = np.float32(0.75) * tensor + value
        self.workers.largest(0)  # as ranks wait for each other in a step
        return StepResult(5.0 + float(value), 1.0, skipped=False, num_tokens=num_tokens, is_spike=False)

    @property
    def ranks(self) -> tuple[int]:
        return (self.rank,)

    def load(self, read: Read) -> None:
        for name, held in self.held.items():
            values = np.zeros(held.box.shape, np.float32)
            box = without_padding(name, held, self.config.model)
            if box.num_elements:
                values[box.index_in(held.box)] = read(name, box)
            self.tensors[name] = values

    def values(self, rank: int, boxes: Mapping[str, Box]) -> Iterator[NDArray[np.float32]]:
        for name, box in boxes.items():
            yield self.tensors[name][box.index_in(self.held[name].box)]

    def require_equal_copies(self) -> None:
        self.workers.largest(0)


def die(*_: Any, **__: Any) -> NoReturn:
    """As by SIGKILL from outside, at this place of the program."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def after(module: Any, name: str) -> None:
    """Die at the end of a function."""
    function: Callable[..., Any] = getattr(module, name)
    setattr(module, name, lambda *words, **more: (function(*words, **more), die()))


def before_step(number: int, act: Callable[[], object]) -> None:
    """Act before a step, counted from this start on."""
    step, numbers = Slices.__call__, itertools.count(1)

    def stepping(*words: Any) -> StepResult:
        if next(numbers) == number:
            act()
        return step(*words)

    Slices.__call__ = stepping  # type: ignore[method-assign]


def wait_for(file: Path) -> None:
    """Until somebody makes it."""
    while not file.exists():
        time.sleep(0.01)


def half_removed(path: Path) -> None:
    """Die in the middle of removing a checkpoint."""
    aside = aside_of(path)
    path.rename(aside)
    (aside / INDEX).unlink()
    die()


def obey_permissions() -> None:
    """Give up what lets root write everywhere: the effective capabilities."""
    header, none = struct.pack("Ii", 0x20080522, 0), struct.pack("6I", *[0] * 6)
    if ctypes.CDLL(None).capset(header, none):
        raise OSError("capset")


def plant(fault: str, output: Path) -> None:
    """Make this rank fail at its next save, or wait before its fourth step for the file go_on, or set its alarm clock,
    which kills, so many seconds after so many steps: "alarm STEPS SECONDS"."""
    if fault.startswith("alarm "):
        _, steps, seconds = fault.split()
        before_step(int(steps) + 1, lambda: signal.setitimer(signal.ITIMER_REAL, float(seconds)))
    elif fault == "waits":
        before_step(4, lambda: wait_for(output / "go_on"))
    elif fault == "in a slice":
        saving._finite = die  # type: ignore[assignment]
    elif fault == "before its marker":
        saving.write_text = die
    elif fault == "after its marker":
        after(saving, "write_text")
    elif fault == "before the index":
        saving.write_index = die
    elif fault == "before the rename":
        after(saving, "write_index")
    elif fault == "between rename and prune":
        saves.prune = die
    elif fault == "while it prunes":
        retention._take_away = half_removed
    elif fault == "full disk":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, resource.RLIM_INFINITY))
    elif fault == "read-only":
        obey_permissions()
    else:
        raise ValueError(fault)


def main(words: dict[str, Any]) -> int:
    rank: int = words["rank"]
    config = load_config("recipe.yaml", words["overrides"])
    num_ranks = config.parallel.num_devices
    with alone(config.output, rank):
        workers: Workers = Meeting(config.output, rank, tuple(range(num_ranks))) if num_ranks > 1 else Alone()
        backend = Backend(Slices(config, rank, workers), workers, rank == 0, None, np.nan)
        trainer = Trainer(config, open_training_data(config), backend, [WriteMetrics(), saves.SaveCheckpoints()])
        trainer.resume()
        if trainer.is_main:
            say(f"begins after step {trainer.progress.step}")
        if words.get("fault"):
            plant(words["fault"], config.output)
        trainer.run()
    return 0


if __name__ == "__main__":
    try:
        code = main(json.loads(sys.argv[1]))
    except (PanguError, OSError) as error:  # as the outermost place of `pangu` does
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code if isinstance(error, PanguError) else 1
    sys.stderr.flush()
    os._exit(code)  # as `pangu` under MindSpore: nobody waits for threads
