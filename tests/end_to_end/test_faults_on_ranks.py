"""Ranks that hold slices die, and their disks fail: nothing is lost but the steps since the last checkpoint.

Real processes with the real loop, meeting and checkpoints; the device alone is a stand-in, see
`tests/stand_in/sliced_rank.py`. What it computes is the same to the bit on every mesh.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pangu_alpha.checkpoint import Checkpoint, list_checkpoints, open_checkpoint, step_name
from pangu_alpha.errors import DamagedError
from pangu_alpha.parallel.parts import Box
from pangu_alpha.records import read_records

if TYPE_CHECKING:
    from tests.conftest import TinyProject

RANK = Path(__file__).parents[1] / "stand_in" / "sliced_rank.py"
SHARDED = "parallel.optimizer_sharding=true"
MESHES = {
    "stages": ("parallel.pp=2", "train.num_micro_batches=2"),
    "split": ("parallel.mp=2", "parallel.pp=2", "train.num_micro_batches=2"),
    "replicas": ("parallel.dp=2", SHARDED),
    "both": ("parallel.dp=2", "parallel.pp=2", SHARDED, "train.num_micro_batches=2"),
    "one": (),
}
NUM_RANKS = {"stages": 2, "split": 4, "replicas": 2, "both": 4, "one": 1}
STEPS = 60
MINE = ("device=ascend", "model.num_layers=4", "tokenizer=null", "data.validation=[]", "train.checkpoint_every=4")
WAITING = 200.0


@dataclass
class Run:
    """A run's folder, and the jobs that work on it one after the other."""

    project: TinyProject
    name: str
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.project.folder / self.name

    @property
    def checkpoints(self) -> list[Path]:
        return list_checkpoints(self.folder / "checkpoints")

    @property
    def newest_step(self) -> int:
        """Of the checkpoints that can be opened."""
        for path in reversed(self.checkpoints):
            try:
                return open_checkpoint(path).step
            except DamagedError:
                continue
        return 0

    def start(self, mesh: str, fault: tuple[int, str] = (0, ""), *more: str, steps: int = STEPS) -> None:
        """Start the ranks of a mesh; one of them is to fail."""
        overrides = [*MINE, *MESHES[mesh], f"output={self.name}", f"train.steps={steps}", *more]
        self.processes = [
            subprocess.Popen(
                [sys.executable, str(RANK), json.dumps(
                    {"rank": rank, "overrides": overrides, "fault": fault[1] if rank == fault[0] else ""}
                )],
                cwd=self.project.folder, env=self.project.environment(), stderr=subprocess.PIPE, text=True,
            )
            for rank in range(NUM_RANKS[mesh])
        ]  # fmt: skip

    def end(self) -> tuple[list[int], str]:
        """The exit codes of all ranks, and what they said."""
        said = [process.communicate(timeout=WAITING)[1] for process in self.processes]
        assert not any("Traceback" in text for text in said), said
        return [process.returncode for process in self.processes], "\n".join(said)

    def wait_for_steps(self, number: int) -> None:
        """Until this many steps more are in the records."""
        path = self.folder / "metrics.jsonl"

        def count() -> int:
            return path.read_bytes().count(b"\n") if path.exists() else 0

        before, deadline = count(), time.monotonic() + WAITING
        while count() < before + number and all(process.poll() is None for process in self.processes):
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def finish(self, mesh: str, *more: str) -> str:
        """Let a whole job run to its end."""
        self.start(mesh, (0, ""), *more)
        codes, said = self.end()
        assert codes == [0] * len(codes), said
        return said

    def require_like(self, other: Run) -> None:
        """Weights, moments, state and every step are those of another run, to the bit."""
        ours, theirs = (open_checkpoint(run.folder / "checkpoints" / step_name(STEPS)) for run in (self, other))
        assert tensors(ours).keys() == tensors(theirs).keys()
        for name, values in tensors(theirs).items():
            np.testing.assert_array_equal(tensors(ours)[name], values, err_msg=name)
        assert ours.state["progress"] == theirs.state["progress"]
        columns = ("step", "loss", "first_sample", "consumed_samples", "learning_rate")
        mine, yours = (
            [[record[name] for name in columns] for record in read_records(run.folder / "metrics.jsonl")]
            for run in (self, other)
        )
        assert mine == yours and [row[0] for row in mine] == list(range(1, STEPS + 1))


def tensors(checkpoint: Checkpoint) -> dict[str, Any]:
    shapes = {name: cells.shape for name, cells in checkpoint.index.tensors.items()}
    return {name: checkpoint.read(name, Box.all_of(shape)) for name, shape in shapes.items()}


@pytest.fixture
def run(tiny_project: TinyProject, request: pytest.FixtureRequest) -> Iterator[Run]:
    name = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)
    made = Run(tiny_project, f"faults_{name}")
    yield made
    for process in made.processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def undisturbed(tiny_project: TinyProject) -> Run:
    made = Run(tiny_project, "undisturbed")
    made.finish("stages")
    return made


@pytest.fixture(scope="module")
def begun(tiny_project: TinyProject) -> Run:
    """A run of eight steps, with checkpoints of steps 4 and 8."""
    made = Run(tiny_project, "begun")
    made.start("stages", steps=8)
    assert made.end()[0] == [0] * 2
    assert [open_checkpoint(path).step for path in made.checkpoints] == [4, 8]
    return made


def test_every_mesh_computes_the_same(run: Run, undisturbed: Run) -> None:
    run.finish("both")
    run.require_like(undisturbed)


@pytest.mark.parametrize("in_background", ["true", "false"])
def test_kills_at_random_moments_under_changing_meshes(in_background: str, run: Run, undisturbed: Run) -> None:
    """Seven each; a rank that is killed ends the others, and the next mesh goes on where the last checkpoint is."""
    choose, newest = random.Random(in_background), 0
    for number in range(7):
        mesh = ("split", "both", "replicas")[number % 3]
        # Its own clock kills it: who does that from outside may come too late. One of them does eight steps or more,
        # and so has ended a save.
        victim, moment = choose.randrange(NUM_RANKS[mesh]), f"{choose.randrange(1, 11)} {choose.uniform(0.001, 0.03)}"
        run.start(mesh, (victim, f"alarm {moment}"), f"train.background_saving={in_background}")
        codes, said = run.end()
        assert codes[victim] == -signal.SIGALRM and set(codes) <= {-signal.SIGALRM, 1, 2}, said
        assert run.newest_step >= newest, "a checkpoint is lost"
        newest = run.newest_step
    assert 0 < newest < STEPS
    assert f"begins after step {newest}" in run.finish("stages")
    run.require_like(undisturbed)


@pytest.mark.parametrize(
    ("rank", "fault"),
    [
        (1, "in a slice"),
        (0, "in a slice"),
        (1, "before its marker"),
        (1, "after its marker"),
        (0, "before the index"),
        (0, "before the rename"),
        (0, "between rename and prune"),
        (0, "while it prunes"),
    ],
)
def test_a_rank_that_is_killed_inside_a_save(rank: int, fault: str, run: Run, begun: Run, undisturbed: Run) -> None:
    shutil.copytree(begun.folder, run.folder)
    run.start("stages", (rank, fault))
    codes, said = run.end()
    assert codes[rank] == -9 and codes[1 - rank] == 1, said
    # From the index on it is whole, and gets its name at the next start.
    whole = ("after its marker", "before the rename", "between rename and prune", "while it prunes")
    assert f"begins after step {12 if fault in whole else 8}" in run.finish("both")
    run.require_like(undisturbed)
    assert not list((run.folder / "checkpoints").glob(".*")), "something half-written stays"


def test_a_full_disk_on_one_rank_ends_the_job_with_a_sentence(run: Run, undisturbed: Run) -> None:
    run.start("stages", (1, "full disk"))
    codes, said = run.end()
    assert codes == [1, 2], said
    assert "step_00000004 could not be written" in said and "File too large" in said
    assert "1 of 2 ranks has not written its part: [1]" in said
    assert run.checkpoints == []
    run.finish("stages")
    run.require_like(undisturbed)


def test_a_folder_that_becomes_read_only(run: Run, begun: Run, undisturbed: Run) -> None:
    shutil.copytree(begun.folder, run.folder)
    root = run.folder / "checkpoints"
    root.chmod(0o555)
    try:
        run.start("stages", (0, "read-only"))
        codes, said = run.end()
    finally:
        root.chmod(0o755)
    assert codes[0] == 1, said
    assert "Permission denied" in said and run.newest_step == 8
    run.finish("stages")
    run.require_like(undisturbed)


@pytest.mark.parametrize("file", ["index.json", "weights/rank_00001.safetensors", "optimizer/rank_00000.safetensors"])
def test_a_flipped_byte_is_passed_over_by_all_ranks(file: str, run: Run, begun: Run, undisturbed: Run) -> None:
    shutil.copytree(begun.folder, run.folder)
    path = run.folder / "checkpoints" / step_name(8) / file
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 4
    path.write_bytes(content)
    said = run.finish("both")
    assert "begins after step 4" in said and str(path.parents[len(Path(file).parts) - 1].name) in said
    run.require_like(undisturbed)


def test_a_second_job_on_the_same_run_is_refused(run: Run, undisturbed: Run) -> None:
    run.start("stages", (0, "waits"))
    run.wait_for_steps(3)
    second = Run(run.project, run.name)
    second.start("stages")
    codes, said = second.end()
    assert codes == [2] * 2 and "set another output" in said
    (run.folder / "go_on").touch()
    codes, said = run.end()
    assert codes == [0] * 2, said
    run.require_like(undisturbed)


def test_one_that_has_ended_is_gone_on_with_twice(run: Run, undisturbed: Run) -> None:
    run.start("replicas", steps=20)
    assert run.end()[0] == [0] * 2
    run.start("both", steps=40)
    assert run.end()[0] == [0] * 4
    run.finish("one")
    run.require_like(undisturbed)
