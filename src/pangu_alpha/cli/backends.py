"""Who computes in this process: a rank of a job, one that trains alone, or the emulator of all ranks.

What `pangu train` and `pangu evaluate ... --recipe` have in common.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pangu_alpha.errors import ConfigError
from pangu_alpha.reading import number_in

if TYPE_CHECKING:
    from pangu_alpha.config import RunConfig
    from pangu_alpha.emulator.processes import Processes
    from pangu_alpha.model import PanguAlpha
    from pangu_alpha.training.backend import Backend
    from pangu_alpha.training.runnable import BackendName
    from pangu_alpha.training.workers import Workers

ENDING_SECONDS = 60.0
"""How long the ranks of a launcher wait for those of one that was killed: these need some 25 s to notice it, and then
finish a step and save."""


class Reporter(Protocol):
    """Says in the heartbeats of this process what it does now and how many steps it has done."""

    def __call__(self, phase: str, step: int | None = None) -> None:
        """See `HeartbeatWriter.report`."""
        ...


def emulated_processes(config: RunConfig, kind: BackendName) -> Processes | None:
    """Those of the emulator, where it is to compute.

    Raises:
        ConfigError: mpirun has started another number of processes than the mesh has ranks.
    """
    if kind != "emulator":
        return None
    from pangu_alpha.emulator.processes import Processes

    return Processes(config.parallel.num_devices)


@contextmanager
def reporting(config: RunConfig, processes: Processes | None) -> Iterator[Reporter]:
    """Inside, no other process is one of this one's ranks in the same output, and these tell what they do.

    Args:
        config: of the run.
        processes: of the emulator, whose ranks live here; None: the launcher says which rank this process is.
    """
    from pangu_alpha.cluster.watching.heartbeat import HeartbeatWriter

    with ExitStack() as stack:
        ranks = _own_ranks() if processes is None else processes.ranks
        if processes is not None:
            stack.enter_context(processes.ending_together())
        if ranks:
            stack.enter_context(alone(config.output, ranks[0]))
        heartbeats = [stack.enter_context(HeartbeatWriter(config, rank)) for rank in ranks]

        def report(phase: str, step: int | None = None) -> None:
            for heartbeat in heartbeats:
                heartbeat.report(phase, step)

        yield report


def alone(output: Path, rank: int) -> AbstractContextManager[None]:
    """Lets no other process be this rank in the same output: no two runs write to it, and no two jobs meet."""
    from pangu_alpha.locks import only_one

    output.mkdir(parents=True, exist_ok=True)
    patience = ENDING_SECONDS if "RANK_ID" in os.environ else 0.0
    return only_one(output / f".rank_{rank}.lock", f"rank {rank} of the run {output}", "set another output", patience)


@dataclass(frozen=True)
class MindSporeProcess:
    """What computes in a process that is one of its job."""

    backend: Backend
    network: PanguAlpha | None
    """The whole network, whose weights are those of the steps; None where the ranks hold slices of it."""


def mindspore_backend(config: RunConfig, report: Reporter, *, measures: bool) -> MindSporeProcess:
    """MindSpore on the recipe's device, in this process, which is joined with the others of its job.

    Args:
        config: of the run.
        report: told what this process does.
        measures: whether `Backend.mean_loss` will be asked.

    Raises:
        DeviceError: MindSpore cannot use the device here.
        LayoutError: MindSpore cuts a parameter otherwise than the table of parameters.
    """
    from pangu_alpha.runtime.device import join_workers, set_device
    from pangu_alpha.training.scalars import may_skip

    set_device(config.device, config.fuse_operators, may_skip(config))
    report("joining")
    rank = join_workers(config.device, num_workers=config.parallel.num_devices)
    workers = _meet(config, rank)
    report("starting")
    if config.device == "ascend":
        from pangu_alpha.training.sliced import rank_backend

        return MindSporeProcess(rank_backend(config, measures, rank, workers), None)
    from pangu_alpha.model import build_network
    from pangu_alpha.training.replica import process_backend

    network = build_network(config.model, config.train.seed)
    return MindSporeProcess(process_backend(network, config, rank, workers), network)


def is_first_rank() -> bool:
    """Whether the launcher calls this process rank 0, or there is no launcher.

    Raises:
        ConfigError: its environment holds no number.
    """
    return _launched_rank() == 0


def _launched_rank() -> int:
    try:
        return number_in(os.environ, "RANK_ID", default=0)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _own_ranks() -> Sequence[int]:
    """The ranks that this process writes the records of: the one that its launcher gave it and its log is named after.

    None for MindSpore's scheduler, which `msrun` starts with the same command, and for a worker of `msrun` on several
    hosts without --node_rank, which learns its rank only when all have met.
    """
    is_scheduler = os.environ.get("MS_ROLE") == "MS_SCHED"
    is_nameless = "RANK_ID" not in os.environ and os.environ.get("MS_WORKER_NUM", "1") != "1"
    return [] if is_scheduler or is_nameless else [_launched_rank()]


def _meet(config: RunConfig, rank: int) -> Workers:
    """The processes of this job: those of all ranks, or of the rehearsed ones."""
    from pangu_alpha.training.meeting import Meeting
    from pangu_alpha.training.rehearsed import ranks_of
    from pangu_alpha.training.workers import Alone

    ranks = ranks_of(os.environ, config.parallel.num_devices)
    return Alone() if len(ranks) == 1 else Meeting(config.output, rank, ranks)
