"""A ModelArts job of two nodes with eight cards each: every card's boot file is a real process."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.launch.conftest import SimulatedCluster

STAND_IN = Path(__file__).parents[1] / "stand_in"
ROOT = Path(__file__).parents[2]


@dataclass
class CloudJob:
    """The platform: storage, two nodes with a disk each, and the variables of every card."""

    folder: Path
    boots: list[subprocess.Popen[str]] = field(default_factory=list)

    def behave(self, text: str) -> None:
        (self.folder / "bucket" / "data" / "behaviour").write_text(text)

    def start(self, ranks: range = range(16), time_limit: int = 300, **variables: str) -> list[subprocess.Popen[str]]:
        """Boot the cards `ranks`."""
        started = []
        for rank in ranks:
            own = {
                "RANK_TABLE_FILE": str(self.folder / "table.json"),
                "RANK_ID": str(rank),
                "RANK_SIZE": "16",
                "ASCEND_DEVICE_ID": str(rank % 8),
                "VC_TASK_INDEX": str(rank // 8),
                "JOB_ID": "job-1",
                "MA_NUM_HOSTS": "2",
                **variables,
            }
            words = [
                "--recipe=recipe.yaml",
                f"--data_url={self.folder / 'bucket' / 'data'}",
                f"--train_url={self.folder / 'bucket' / 'results'}",
                f"--work_dir={self.disk(rank)}",
                "--sync_seconds=0.2",
                f"--time_limit={time_limit}",
                "--train.steps=7",
            ]
            command = [sys.executable, str(STAND_IN / "boot.py"), *words]
            started.append(
                subprocess.Popen(command, cwd=self.folder, env={**os.environ, **own}, stderr=subprocess.PIPE, text=True)
            )
        self.boots += started
        return started

    def disk(self, rank: int) -> Path:
        return self.folder / f"node_{rank // 8}"

    def job(self, rank: int, job_id: str = "job_1") -> Path:
        """The job's folder on the disk of a card's node."""
        return self.disk(rank) / f"pangu_alpha_{job_id}"

    @property
    def results(self) -> Path:
        return self.folder / "bucket" / "results"

    def wait_for_ranks(self) -> None:
        deadline = time.monotonic() + 280
        while not all((self.job(rank) / "output" / "seen" / f"{rank}.json").exists() for rank in range(16)):
            assert time.monotonic() < deadline, "the ranks did not begin"
            time.sleep(0.05)


def _ended(boots: list[subprocess.Popen[str]]) -> tuple[list[int], list[str]]:
    """Exit codes and stderr of all boots."""
    errors = [boot.communicate(timeout=280)[1] for boot in boots]
    return [boot.returncode for boot in boots], errors


@pytest.fixture
def cloud_job(simulated_cluster: SimulatedCluster) -> Iterator[CloudJob]:
    job = CloudJob(simulated_cluster.folder)
    (job.folder / "bucket" / "data" / "tokens").mkdir(parents=True)
    (job.folder / "bucket" / "data" / "tokens" / "train.bin").write_bytes("话说天下大势".encode() * 1000)
    yield job
    for boot in job.boots:
        boot.kill()
        boot.wait()


def test_a_job_and_the_same_job_again(cloud_job: CloudJob) -> None:
    cloud_job.behave("together=8 checkpoint=3")
    codes, errors = _ended(cloud_job.start())
    assert codes == [0] * 16, errors
    # Data was fetched by one card of each node.
    assert [
        sum("bucket/data: " in text for text in errors[:8]),
        sum("bucket/data: " in text for text in errors[8:]),
    ] == [1, 1]
    assert (cloud_job.job(8) / "data" / "tokens" / "train.bin").stat().st_size == 18000
    checkpoint = cloud_job.results / "checkpoints" / "step_00000003"
    assert sorted(path.name for path in checkpoint.iterdir()) == sorted(
        ["index.json", *(f"part_{r}" for r in range(16))]
    )
    assert (cloud_job.results / "metrics.jsonl").read_text() == "step 3\n"
    assert (cloud_job.results / "logs" / "rank_13.log").read_text() == "rank 13 computes\n"

    # The job is started again on other nodes: their disks are empty.
    for rank in (0, 8):
        cloud_job.disk(rank).rename(cloud_job.folder / f"lost_{rank}")
    # Otherwise the ranks would take what those of the first job left for each other's, and not wait for all.
    shutil.rmtree(cloud_job.results / "seen")
    cloud_job.behave("together=8 checkpoint=6")
    codes, errors = _ended(cloud_job.start())
    assert codes == [0] * 16, errors
    for rank in (0, 8):
        assert (cloud_job.job(rank) / "output" / "checkpoints" / "step_00000003" / "part_5").exists()
    assert (cloud_job.results / "metrics.jsonl").read_text() == "step 3\nstep 6\n"
    assert (cloud_job.results / "checkpoints" / "step_00000006" / "index.json").exists()
    assert (cloud_job.results / "logs" / "attempt_0" / "rank_13.log").exists()


def test_results_are_copied_back_while_training(cloud_job: CloudJob) -> None:
    cloud_job.behave("checkpoint=3 seconds=1000")
    boots = cloud_job.start()
    deadline = time.monotonic() + 280
    index = cloud_job.results / "checkpoints" / "step_00000003" / "index.json"
    while not (index.exists() and (index.parent / "part_15").exists()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert all(boot.poll() is None for boot in boots)
    cloud_job.wait_for_ranks()  # The platform ends the job:
    for boot in boots:
        boot.send_signal(signal.SIGTERM)
    codes, errors = _ended(boots)
    assert codes == [143] * 16, errors
    assert len(list((cloud_job.job(0) / "output" / "seen").glob("saved_*"))) == 8


def test_a_card_that_dies_ends_all_and_is_named(cloud_job: CloudJob) -> None:
    cloud_job.behave("seconds=1000")
    boots = cloud_job.start()
    cloud_job.wait_for_ranks()
    children = Path(f"/proc/{boots[5].pid}/task/{boots[5].pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    codes, errors = _ended(boots)
    assert codes == [137 if rank == 5 else 1 for rank in range(16)]
    assert all("rank 5 died (killed by SIGKILL)" in text for text in errors)
    assert "rank 5 died" in (cloud_job.results / "failures" / "rank_5.json").read_text()


def test_exit_code_is_forwarded(cloud_job: CloudJob) -> None:
    cloud_job.behave("die=9")
    (boot,) = cloud_job.start(ranks=range(9, 10))
    codes, errors = _ended([boot])
    assert codes == [3]
    assert "rank 9 died (exit code 3)" in errors[0] and "no memory" in errors[0]


def test_a_table_of_pods_gives_the_ranks(cloud_job: CloudJob, simulated_cluster: SimulatedCluster) -> None:
    simulated_cluster.group()
    cloud_job.behave("seconds=0")
    codes, errors = _ended(cloud_job.start(ranks=range(9, 11)))
    assert codes == [0, 0], errors
    for rank in (9, 10):
        seen = json.loads((cloud_job.job(rank) / "output" / "seen" / f"{rank}.json").read_text())["environment"]
        assert (seen["RANK_ID"], seen["MS_NODE_ID"], seen["DEVICE_ID"]) == (str(rank), str(rank), str(rank - 8))
        assert (seen["RANK_TABLE_FILE"], seen["MS_SCHED_HOST"]) == ("", "127.0.0.1")


def test_results_that_cannot_be_copied_are_told(cloud_job: CloudJob) -> None:
    cloud_job.behave("checkpoint=3")
    cloud_job.results.write_text("a file, where the results should go")
    (boot,) = cloud_job.start(ranks=range(1))
    codes, errors = _ended([boot])
    assert codes == [1]
    assert "cannot be reached, read or written" in errors[0] and "Traceback" not in errors[0]
    assert f"What was to be copied is in {cloud_job.job(0) / 'output'}" in errors[0]


def test_stale_locks_and_markers_mean_nothing(cloud_job: CloudJob) -> None:
    # An earlier job has left everything on both nodes, and a card of this one was killed while it fetched.
    cloud_job.behave("seconds=0")
    for rank in (0, 8):
        for folder in (cloud_job.job(rank, "job_0"), cloud_job.job(rank)):
            folder.mkdir(parents=True)
            (folder / "fetch.lock").touch()
            (folder / "running.lock").touch()
        (cloud_job.job(rank, "job_0") / "fetched.json").write_text("[]")
        (cloud_job.job(rank) / "failures").mkdir()
        failure = {"rank": 3, "host": "10.0.0.1", "what": "rank 3 died", "time": time.time()}
        (cloud_job.job(rank) / "failures" / "rank_3.json").write_text(json.dumps(failure))
        (cloud_job.job(rank) / "data").mkdir()
        (cloud_job.job(rank) / "data" / "behaviour").write_text("die=3")  # half of a copy
    codes, errors = _ended(cloud_job.start())
    assert codes == [0] * 16, errors


def test_waiting_for_a_lock_has_an_end(cloud_job: CloudJob) -> None:
    cloud_job.job(0).mkdir(parents=True)
    with (cloud_job.job(0) / "fetch.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        (boot,) = cloud_job.start(ranks=range(1), time_limit=1)
        codes, errors = _ended([boot])
    assert codes == [2]
    assert "waited 1 s for another card of this node to fetch" in errors[0] and "fetch.lock is locked" in errors[0]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK_TABLE_FILE": ""}, "the environment has no RANK_TABLE_FILE, which ModelArts sets"),
        ({"RANK_ID": "16"}, "rank 16 is not in"),
        ({"RANK_ID": "first"}, "RANK_ID in the environment is 'first', not a number"),
        ({"JOB_ID": ""}, "no BATCH_JOB_ID and no JOB_ID"),
    ],
)
def test_wrong_variables_are_refused(cloud_job: CloudJob, variables: dict[str, str], message: str) -> None:
    (boot,) = cloud_job.start(ranks=range(1), **variables)
    codes, errors = _ended([boot])
    assert codes == [2]
    assert message in errors[0] and "Traceback" not in errors[0]


def test_pre_start_installs_once(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n[ "$1" != -c ] || [ $(wc -l < {calls}) -gt 1 ]\n')
    python.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(python), "TMPDIR": str(tmp_path)}
    for _ in range(2):
        subprocess.run(["bash", str(ROOT / "launch" / "ma-pre-start.sh")], env=environment, check=True)
    lines = calls.read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["-c", "-m", "-m", "-c"]
    assert "--requirement requirements.txt" in lines[1] and "--no-deps --editable ." in lines[2]
