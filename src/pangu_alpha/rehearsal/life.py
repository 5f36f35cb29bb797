"""One recipe's life in a rehearsal: its ranks' processes, from the rank table to the checkpoint, and the comparison."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.checkpoint import open_checkpoint, step_name
from pangu_alpha.checkpoint.index import INDEX
from pangu_alpha.cluster.launching.environment import Card, card_environment
from pangu_alpha.cluster.launching.job import KILL, NOISE, Job, ProcessOrder, move_aside, next_attempt, start
from pangu_alpha.cluster.rank_tables.rank_table import RankTable
from pangu_alpha.compiler.standin import simulated_environment, soc_for
from pangu_alpha.config import RunConfig
from pangu_alpha.errors import TrainingError
from pangu_alpha.parallel.parts import Box, owned_boxes
from pangu_alpha.reading import read_json
from pangu_alpha.records import read_records
from pangu_alpha.rehearsal.absent import AbsentRanks
from pangu_alpha.run_folder import ACCOUNTS, CHECKPOINTS, METRICS, SAVES
from pangu_alpha.training.rehearsed import VARIABLE

# MindSpore crashes when a simulated process is taken down, after everything is done.
COMMAND = (
    "import os, sys; from pangu_alpha.cli.main import main; code = main(); sys.stdout.flush(); sys.stderr.flush(); "
    "os._exit(code)"
)
_NO_TE = b"run_check/_check_version.py"
"""MindSpore's complaint that a package of CANN is missing, which a simulated device does not need."""
Read = Callable[[str, Box], NDArray[np.floating]]


@dataclass(frozen=True)
class Life:
    """What is rehearsed."""

    number: int
    """From 1."""
    has_random_data: bool
    """Made here, because that of the recipe is not on this machine."""
    config: RunConfig
    """With the output and the number of steps of the rehearsal."""
    words: tuple[str, ...]
    """The recipe and its overrides, for `pangu train`."""
    ranks: tuple[int, ...]
    """That have a process."""
    table: RankTable
    table_path: Path
    logs: Path
    num_steps: int
    """That it adds to those of the life before."""


@dataclass(frozen=True)
class Lived:
    """What came of it."""

    seconds: float
    """From the start of the processes to the end of the last."""
    accounts: Mapping[int, Mapping[str, float]]
    """Of each rank that has a process, see `WriteAccount`."""
    step: int
    first_sample: int
    """Of the first step."""
    consumed_samples: int
    num_files: int
    num_bytes: int
    """Of the checkpoint."""
    index_bytes: int
    save_seconds: float
    num_boxes: int
    """That the ranks with a process own, all of them compared."""
    num_elements: int
    """In them."""


def live(life: Life, requests: list[int]) -> Path:
    """Start the ranks, and give the checkpoint with which they end.

    Args:
        life: what is rehearsed.
        requests: numbers of signals that came, see `Job`.

    Raises:
        TrainingError: a rank died; its last words are in the error.
        CompileError: the stand-in for CANN cannot be built.
    """
    config, logs = life.config, life.logs
    logs.mkdir(parents=True, exist_ok=True)
    record = logs / "exits.json"
    move_aside([*logs.glob("*.log"), record], next_attempt(logs))
    tasks = [_order(life, index, rank) for index, rank in enumerate(life.ranks)]
    root = config.output / CHECKPOINTS
    with (
        AbsentRanks(root, config, life.ranks, lambda: requests.append(KILL)),
        Job(requests, record, noise=(NOISE, _NO_TE)) as job,
    ):
        start(tasks, logs, job)
        job.watch(logs / tasks[0].log_name)
    if requests:
        raise TrainingError(
            f"the rehearsal was stopped; what it has written is in {life.logs.parents[1]} and can be removed"
        )
    return root / step_name(config.train.steps)


def account(life: Life, checkpoint: Path, seconds: float, expected: Read) -> Lived:
    """Compare the checkpoint, and gather what the ranks have written down.

    Args:
        life: that has ended.
        checkpoint: with which it ended.
        seconds: that it took.
        expected: what must be in the boxes that the ranks with a process own.

    Raises:
        TrainingError: something else is.
        DamagedError: the checkpoint is not what was written.
    """
    output, config = life.config.output, life.config
    found = open_checkpoint(checkpoint)
    num_boxes = num_elements = 0
    try:
        for rank in life.ranks:
            for name, box in owned_boxes(config.model, config.parallel, rank).items():
                if not np.array_equal(found.read(name, box), expected(name, box)):
                    raise TrainingError(
                        f"{checkpoint}: what rank {rank} wrote of {name}, from {list(box.begin)} on, is not what it "
                        "was given. This is a fault of this program or of MindSpore: report it with the logs"
                    )
                num_boxes += 1
                num_elements += box.num_elements
    finally:
        found.close()
    steps = [record for record in read_records(output / METRICS) if record["step"] > found.step - life.num_steps]
    save = read_records(output / SAVES)[-1]
    return Lived(
        seconds=seconds,
        accounts={rank: read_json(output / ACCOUNTS / f"rank_{rank:05d}.json") for rank in life.ranks},
        step=found.step,
        first_sample=steps[0]["first_sample"],
        consumed_samples=steps[-1]["consumed_samples"],
        num_files=len(found.index.files),
        num_bytes=found.num_bytes,
        index_bytes=(checkpoint / INDEX).stat().st_size,
        save_seconds=save["seconds"],
        num_boxes=num_boxes,
        num_elements=num_elements,
    )


def _order(life: Life, index: int, rank: int) -> ProcessOrder:
    """The process of a rank: the real command, in the environment of the launcher and of the simulation."""
    config = life.config
    _, device = life.table.by_rank[rank]
    soc = soc_for(config.model.compute_dtype)
    simulated = simulated_environment(rank, config.parallel.num_devices, 1, soc, has_memory=True)
    environment = {
        **{name: value for name, value in simulated.items() if os.environ.get(name) != value},
        **card_environment("ascend", Card(rank, device.device_id), config.parallel.num_devices),
        VARIABLE: ",".join(map(str, life.ranks)),
    }
    return ProcessOrder(
        f"rank {rank}", (sys.executable, "-c", COMMAND, "train", *life.words), environment, index, len(life.ranks)
    )
