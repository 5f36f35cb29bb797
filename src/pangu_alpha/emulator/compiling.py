"""Compiles the programs of any ranks of a recipe on this machine, each in a process of its own, and keeps them.

A program is kept under ~/.cache/pangu_alpha/programs until the recipe's program of that rank is compiled again from
other code.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pangu_alpha
from pangu_alpha.config import RunConfig
from pangu_alpha.console import progress
from pangu_alpha.emulator.standin import Level, simulated_environment
from pangu_alpha.errors import CompileError
from pangu_alpha.topology.mesh import Mesh
from pangu_alpha.topology.schedule import pipeline_order
from pangu_alpha.topology.stages import place_layers

PROCESS_MEMORY = 4 << 30
"""Bytes a compiling process is expected to need: the last stage of the 200B network needs 3.4 GiB."""
_CODE = (
    "config/schema.py",
    "model",
    "parallel/apply.py",
    "parallel/slices.py",
    "parallel/table.py",
    "topology/mesh.py",
    "topology/stages.py",
    "training/distributed.py",
    "training/norm.py",
    "training/optimizer.py",
    "training/step.py",
    "emulator/compile_rank.py",
    "emulator/standin.py",
)
"""What a program depends on, below the package's folder."""
_ALLOCATOR = "glibc.malloc.tcache_count=60000:glibc.malloc.hugetlb=1:glibc.malloc.trim_threshold=1000000000000"
"""The compiler makes and drops millions of small objects: kept instead of merged they cost a quarter less time."""
_WITHOUT_EFFECT: Any = {
    "output": ...,
    "tokenizer": ...,
    "data": ...,
    "schedule": ...,
    "loss_scale": ...,
    "fuse_operators": ...,
    "train": {"steps", "seed", "log_every", "validate_every", "checkpoint_every", "keep_checkpoints"},
}
"""Settings that no program depends on."""


@dataclass(frozen=True)
class Measured:
    """What compiling a rank took."""

    build_seconds: float
    """Starting MindSpore and making the network's Cells."""
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
    def layout(self) -> dict[str, list[Any]]:
        """Name → MindSpore's layout row, for `part_of`."""
        rows: dict[str, list[Any]] = json.loads((self.folder / "layout.json").read_text(encoding="utf-8"))
        return rows


def stage_ranks(mesh: Mesh) -> list[int]:
    """The first rank of each pipeline stage."""
    return [mesh.stage_ranks(stage)[0] for stage in range(mesh.pp)]


def compile_ranks(
    config: RunConfig, ranks: Sequence[int], *, level: Level = 0, num_jobs: int | None = None
) -> list[CompiledRank]:
    """The programs of `ranks`, compiled unless they are kept from before.

    Args:
        level: 1 also plans the operators and the device's memory.
        num_jobs: processes at a time; as many as there are cores and memory for unless given.

    Raises:
        ConfigError: the layers or the micro-batches cannot be laid on the stages.
        CompileError: the stand-in for CANN cannot be built, or MindSpore refuses the program, in its words.
    """
    place_layers(config.model, config.parallel)
    pipeline_order(config.parallel, config.train.num_micro_batches)
    folders = {rank: _folder(config, rank, level) for rank in ranks}
    code = code_version()
    missing = [rank for rank, folder in folders.items() if _kept_code(folder) != code]
    if missing:
        _compile_missing(config, missing, folders, level, num_jobs or _num_jobs())
    return [CompiledRank(rank, folder, _measured(folder)) for rank, folder in folders.items()]


def _compile_missing(
    config: RunConfig, ranks: Sequence[int], folders: dict[int, Path], level: Level, num_jobs: int
) -> None:
    waiting = deque(ranks)
    running: list[_Process] = []
    with progress("compiling", len(ranks), "programs") as advance:
        try:
            while waiting or running:
                while waiting and len(running) < num_jobs:
                    rank = waiting.popleft()
                    running.append(_Process(config, rank, level, folders[rank]))
                time.sleep(0.05)
                for process in [process for process in running if process.ended()]:
                    running.remove(process)
                    process.keep()
                    advance(1)
        finally:
            for process in running:
                process.stop()


class _Process:
    """A rank being compiled, in a folder beside the one in which the result is kept."""

    def __init__(self, config: RunConfig, rank: int, level: Level, folder: Path) -> None:
        self._rank, self._folder, self._code = rank, folder, code_version()
        soc = "Ascend910B1" if config.model.compute_dtype == "bfloat16" else "Ascend910A"
        environment = simulated_environment(rank, config.parallel.num_devices, level, soc)
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._aside = Path(tempfile.mkdtemp(prefix=".compiling_", dir=folder.parent))
        # MindSpore leaves dumps and folders of its own in its working directory.
        self._work = self._aside / "work"
        self._work.mkdir()
        job = {"config": config.model_dump(mode="json"), "level": level}
        (self._aside / "job.json").write_text(json.dumps(job), encoding="utf-8")
        environment.setdefault("GLIBC_TUNABLES", _ALLOCATOR)
        environment |= {"GLOG_v": "3", "OMP_NUM_THREADS": "1", "MS_OM_PATH": str(self._work)}
        self._log = self._aside / "log.txt"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pangu_alpha.emulator.compile_rank", str(self._aside / "job.json")],
                cwd=self._work,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._aside, ignore_errors=True)

    def keep(self) -> None:
        """Put the result in its place.

        Raises:
            CompileError: there is none.
        """
        if self._process.returncode:
            log = Path(tempfile.gettempdir()) / f"pangu_compile_rank_{self._rank}_{self._process.pid}.log"
            shutil.move(self._log, log)
            shutil.rmtree(self._aside, ignore_errors=True)
            raise CompileError(_failure(self._rank, self._process.returncode, log))
        for name in ("program.mindir", "layout.json", "measured.json"):
            (self._work / name).rename(self._aside / name)
        shutil.rmtree(self._work)
        (self._aside / "code.txt").write_text(self._code, encoding="utf-8")
        shutil.rmtree(self._folder, ignore_errors=True)
        try:
            self._aside.rename(self._folder)
        except OSError:  # another process was first with the same program
            shutil.rmtree(self._aside, ignore_errors=True)


def _failure(rank: int, code: int, log: Path) -> str:
    if code == -9:
        return (
            f"the compiler of rank {rank} was killed, most likely because the memory ran out: lower --jobs. "
            f"Its output is in {log}"
        )
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    # The first error that a pass of the compiler logged says the reason; the exception only who gave up. After its
    # message come paragraphs under dashed titles about where it was in C++.
    logged = [line.rpartition("] ")[2] for line in lines if line.startswith("[ERROR]") and "ME(" not in line]
    raised = [number for number, line in enumerate(lines) if _is_exception(line)]
    words = [*logged[:1], *(lines[raised[-1] :] if raised else lines[-4:])]
    end = next((number for number, line in enumerate(words) if line.startswith("---")), len(words))
    message = "\n  ".join(words[: min(end, 6)])
    return f"MindSpore does not compile rank {rank}:\n  {message}\nall of its output is in {log}"


def _is_exception(line: str) -> bool:
    name = line.partition(":")[0].rpartition(".")[2]
    return name.isidentifier() and name.endswith(("Error", "Exception"))


def _folder(config: RunConfig, rank: int, level: Level) -> Path:
    settings = config.model_dump_json(exclude=_WITHOUT_EFFECT)
    recipe = hashlib.sha256(settings.encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pangu_alpha" / "programs"
    return cache / recipe / f"rank_{rank}_level_{level}"


def code_version() -> str:
    """Changes when the code that a program comes from changes."""
    package = Path(pangu_alpha.__file__).parent
    digest = hashlib.sha256(version("mindspore").encode())
    for name in _CODE:
        path = package / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _kept_code(folder: Path) -> str | None:
    try:
        return (folder / "code.txt").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def _measured(folder: Path) -> Measured:
    return Measured(**json.loads((folder / "measured.json").read_text(encoding="utf-8")))


def _num_jobs() -> int:
    free = next(
        int(line.split()[1]) << 10
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        if line.startswith("MemAvailable:")
    )
    return max(1, min(len(os.sched_getaffinity(0)), free // PROCESS_MEMORY))
