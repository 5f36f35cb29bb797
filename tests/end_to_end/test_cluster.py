"""From an inventory to a job that was killed and went on: two servers of eight cards, simulated on this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pangu_alpha.cli.main import main
from pangu_alpha.cluster.watching.heartbeat import read_heartbeats

if TYPE_CHECKING:
    from tests.conftest import TinyProject

ROOT = Path(__file__).parents[2]
NUM_RANKS, CHECKPOINT_EVERY, VICTIM = 16, 2, 11
DEVICE_IP = "192.168.{100 + device % 4}.{1 + server * 2 + device // 4}"
JOB = (
    "recipe.yaml", f"parallel.dp={NUM_RANKS}", f"train.batch_size={NUM_RANKS}", "train.steps=100000",
    f"train.checkpoint_every={CHECKPOINT_EVERY}", "fuse_operators=false", "data.validation=[]",
)  # fmt: skip
"""It ends when it is killed, however busy the machine is."""


@dataclass
class Operator:
    """Somebody at a terminal in the project's folder, whose `ssh` is the stand-in."""

    project: TinyProject
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command."""
        environment = {
            **self.project.environment(),
            "PYTHON": sys.executable,
            "PATH": f"{ROOT / 'tests' / 'stand_in'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        process = subprocess.Popen(
            command,
            cwd=self.project.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self.started.append(process)
        return process

    def pangu(self, *words: str) -> str:
        """What `pangu` with `words` prints."""
        process = self.start("pangu", *words)
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stdout + stderr
        return stdout


@pytest.fixture
def operator(tiny_project: TinyProject) -> Iterator[Operator]:
    operator = Operator(tiny_project)
    yield operator
    for process in operator.started:
        process.kill()
        process.wait()


def _wait_for_checkpoint(operator: Operator, launcher: subprocess.Popen[str], run: Path) -> None:
    """Wait until a checkpoint is there and the ranks train on."""
    deadline = time.monotonic() + 240
    while (
        not list(run.glob("checkpoints/step_*/index.json"))
        or len(operator.project.records(run.name)) <= CHECKPOINT_EVERY
    ):
        assert launcher.poll() is None, launcher.communicate()[1]
        assert time.monotonic() < deadline, operator.pangu("status", run.name)
        time.sleep(0.02)


def _wait_until_all_train(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Look at the status until it says so: between two steps some of the ranks may be saving."""
    deadline, status = time.monotonic() + 240, ""
    while "cluster: 16 ranks on" not in status or "rank 0-15  16 ×  training  step" not in status:
        assert time.monotonic() < deadline, status
        time.sleep(0.02)
        main(["status", str(run)])  # here: while a new process starts, a busy machine may do many steps
        status = capsys.readouterr().out


def test_sixteen_cards_from_an_inventory_to_a_restart(operator: Operator, capsys: pytest.CaptureFixture[str]) -> None:
    project, run = operator.project, operator.project.folder / "cluster"
    (project.folder / "hosts").write_text("127.0.0.1 rack=left\n127.0.0.2 rack=left\n")
    made = operator.pangu(
        "ranktable", "make", "--from", "hosts", "--device-ip", DEVICE_IP, "--output", "table.json", "--config", *JOB
    )
    assert made == "table.json: 16 device(s) on 2 server(s), format 1.0\n"
    checked = operator.pangu("ranktable", "check", "table.json", "--hosts", "hosts", "--config", *JOB)
    assert checked.startswith("table.json: no problems")
    examined = operator.pangu("doctor", *JOB, "output=cluster", "--rank-table", "table.json", "--hosts", "hosts")
    assert "2 answered" in examined and "✗ 0" in examined

    launch = ("bash", str(ROOT / "launch" / "train_rank_table.sh"))
    launcher = operator.start(*launch, JOB[0], "table.json", *JOB[1:], "output=cluster", "--hosts", "hosts")
    _wait_for_checkpoint(operator, launcher, run)
    _wait_until_all_train(run, capsys)
    os.kill(read_heartbeats(run)[VICTIM].pid, signal.SIGKILL)
    _, stderr = launcher.communicate(timeout=200)
    assert launcher.returncode == 1
    assert f"host 127.0.0.2: rank {VICTIM} died (killed by SIGKILL)" in stderr
    assert "`pangu diagnose cluster` says more" in stderr
    assert "not well" in operator.pangu("status", "cluster")

    diagnosis = operator.pangu("diagnose", "cluster")
    assert diagnosis.startswith(f"rank {VICTIM} failed first") and "killed by SIGKILL, after step" in diagnosis
    last_step = project.records("cluster")[-1]["step"]
    assert last_step > CHECKPOINT_EVERY
    *_, advice, command = diagnosis.splitlines()
    assert advice == "go on from it with:"
    num_steps = last_step + 4
    again = operator.start("bash", "-c", f"{command} train.steps={num_steps}")
    _, stderr = again.communicate(timeout=600)
    assert again.returncode == 0, stderr
    going_on = re.search(r"going on after step (\d+)\n", stderr)
    # The last save may have been under way when the rank died.
    saved = last_step // CHECKPOINT_EVERY * CHECKPOINT_EVERY
    assert going_on is not None and int(going_on[1]) in (saved - CHECKPOINT_EVERY, saved), stderr
    assert "rank 0-15  16 ×  ended" in operator.pangu("status", "cluster")
    assert "nothing has failed" in operator.pangu("diagnose", "cluster")
    logs = {path.name for path in (run / "logs").glob("rank_*.log")}
    assert logs == {path.name for path in (run / "logs" / "attempt_0").glob("rank_*.log")}
    assert logs == {f"rank_{rank}.log" for rank in range(NUM_RANKS)}

    operator.pangu("train", *JOB, f"train.steps={num_steps}", "parallel.dp=1", "output=one_card")
    expected, got = project.losses("one_card"), project.losses("cluster")
    assert [step for step, _, _ in got] == list(range(1, num_steps + 1))
    for (_, loss, norm), (_, got_loss, got_norm) in zip(expected, got, strict=True):
        assert got_loss == pytest.approx(loss, abs=1e-5)
        assert got_norm == pytest.approx(norm, rel=1e-4)
