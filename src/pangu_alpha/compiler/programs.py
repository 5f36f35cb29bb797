"""The programs of any ranks of a recipe, compiled on this machine and kept.

A program is kept under ~/.cache/pangu_alpha/programs until the recipe's program of that rank is compiled again from
other code, or because a file of it is missing or damaged.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangu_alpha.compiler.pool import Compilation, Compilers
from pangu_alpha.compiler.standin import Level
from pangu_alpha.compiler.versions import program_version
from pangu_alpha.config import RunConfig, groups_problem
from pangu_alpha.console import progress
from pangu_alpha.errors import ConfigError
from pangu_alpha.files import cache_folder, is_sealed
from pangu_alpha.reading import read_json
from pangu_alpha.topology.mesh import Mesh
from pangu_alpha.topology.schedule import pipeline_order

PROCESS_MEMORY = 4 << 30
"""Bytes a compiling process is expected to need: the last stage of the 200B network needs 3.4 GiB."""
_WITHOUT_EFFECT: Any = {
    "output": ...,
    "tokenizer": ...,
    "data": ...,
    "schedule": ...,
    "loss_scale": ...,
    "fuse_operators": ...,
    "spikes": {"window", "sigmas", "max_skips"},
    "train": {
        *("steps", "seed", "log_every", "validate_every", "checkpoint_every", "checkpoint_minutes"),
        *("background_saving", "keep_checkpoints", "keep_every"),
    },
}
"""Settings that no program depends on. The compilers are given the recipe without them: to read one is an error."""


@dataclass(frozen=True)
class Measured:
    """What compiling a rank took."""

    build_seconds: float
    """Making the network's Cells; MindSpore is loaded already."""
    compile_seconds: float
    plan_seconds: float
    """Planning operators and memory; level 1 only."""
    host_memory: int
    """Bytes the compiling process held at its peak."""
    device_memory: int | None
    """Bytes MindSpore plans on the device at its peak; None at level 0."""

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.build_seconds + self.compile_seconds + self.plan_seconds


@dataclass(frozen=True)
class CompiledRank:
    """One rank's program on disk."""

    rank: int
    folder: Path
    measured: Measured

    @property
    def program(self) -> Path:
        """The program, for `read_program`."""
        return self.folder / "program.mindir"

    @property
    def validation(self) -> Path:
        """The forward-only program, where `compile_ranks` was asked for it."""
        return self.folder / "validation.mindir"

    @property
    def layout(self) -> dict[str, list[Any]]:
        """Name → MindSpore's layout row, for `part_of`."""
        rows: dict[str, list[Any]] = read_json(self.folder / "layout.json")
        return rows


def stage_ranks(mesh: Mesh) -> list[int]:
    """The first rank of each pipeline stage."""
    return [mesh.stage_ranks(stage)[0] for stage in range(mesh.pp)]


def compile_ranks(
    config: RunConfig,
    ranks: Sequence[int],
    *,
    level: Level = 0,
    with_validation: bool = False,
    num_jobs: int | None = None,
) -> list[CompiledRank]:
    """The programs of `ranks`, compiled unless they are kept from before.

    Args:
        level: 1 also plans the operators and the device's memory.
        with_validation: also make the forward-only programs.
        num_jobs: processes at a time; as many as there are cores and memory for unless given.

    Raises:
        ConfigError: the micro-batches cannot be laid on the stages, or MindSpore has no such groups of ranks.
        CompileError: the stand-in for CANN cannot be built, or MindSpore refuses the program, in its words.
    """
    if problem := groups_problem(config.parallel):
        raise ConfigError(problem)
    pipeline_order(config.parallel, config.train.num_micro_batches)
    folders = {rank: _folder(config, rank, level) for rank in ranks}
    code = program_version()
    missing = [rank for rank, folder in folders.items() if not _is_kept(folder, code, with_validation)]
    if missing:
        recipe = _settings_of_program(config, _WITHOUT_EFFECT)
        with (
            Compilers(recipe, level, with_validation) as compilers,
            progress("compiling", len(missing), "programs") as advance,
        ):
            waiting = {rank: folders[rank] for rank in missing}
            with closing(_compile(compilers, waiting, num_jobs or _num_jobs(), lambda: advance(0))) as compilations:
                for compilation in compilations:
                    compilation.keep(code)
                    advance(1)
    return [CompiledRank(rank, folder, _measured(folder)) for rank, folder in folders.items()]


def _compile(
    compilers: Compilers, folders: Mapping[int, Path], num_jobs: int, show_life: Callable[[], None]
) -> Generator[Compilation]:
    """Compile the ranks of `folders`, `num_jobs` at a time; each is yielded when it has ended."""
    waiting = deque(folders.items())
    running: list[Compilation] = []
    try:
        while waiting or running:
            while waiting and len(running) < num_jobs:
                running.append(compilers.start(*waiting.popleft()))
            show_life()
            time.sleep(0.05)
            for compilation in [compilation for compilation in running if compilation.ended()]:
                running.remove(compilation)
                yield compilation
    finally:
        for compilation in running:
            compilation.stop()


def _is_kept(folder: Path, code: str, with_validation: bool) -> bool:
    return is_sealed(folder, code) and (not with_validation or (folder / "validation.mindir").exists())


def _folder(config: RunConfig, rank: int, level: Level) -> Path:
    settings = config.model_dump_json(exclude=_WITHOUT_EFFECT)
    recipe = hashlib.sha256(settings.encode()).hexdigest()[:16]
    return cache_folder() / "programs" / recipe / f"rank_{rank}_level_{level}"


def _settings_of_program(settings: Any, without_effect: Any) -> Any:
    """`settings` without those of `without_effect`."""
    kept = settings.model_copy()
    for name in without_effect:
        inner = without_effect[name] if isinstance(without_effect, dict) else ...
        if inner is ...:
            del kept.__dict__[name]
        else:
            kept.__dict__[name] = _settings_of_program(kept.__dict__[name], inner)
    return kept


def _measured(folder: Path) -> Measured:
    return Measured(**read_json(folder / "measured.json"))


def free_memory() -> int:
    """Bytes that this machine can still give."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))


def _num_jobs() -> int:
    return max(1, min(len(os.sched_getaffinity(0)), free_memory() // PROCESS_MEMORY))
