"""Jobs of real processes that fail in the ways that jobs fail, and what the diagnosis makes of them."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pangu_alpha.cluster.launching.environment import Card, Scheduler, scheduler_environment, worker_environment
from pangu_alpha.cluster.launching.job import KILL, Job, ProcessOrder, start
from pangu_alpha.cluster.launching.plan import SCHEDULER
from pangu_alpha.cluster.ports import free_port
from pangu_alpha.cluster.watching.diagnosis import Weight, describe, diagnose
from pangu_alpha.cluster.watching.heartbeat import last_step, read_heartbeats
from pangu_alpha.cluster.watching.status import describe as describe_status
from pangu_alpha.cluster.watching.status import read_status
from pangu_alpha.errors import TrainingError

if TYPE_CHECKING:
    from tests.conftest import TinyProject


class FailingJob:
    """Up to two ranks of the tiny project's recipe, one of which may be started differently."""

    def __init__(self, project: TinyProject, run: str, num_ranks: int = 2) -> None:
        self.output = project.folder / run
        self.logs = self.output / "logs"
        self.logs.mkdir(parents=True)
        self.folders = [project.folder] * num_ranks
        self.before: list[Sequence[str]] = [()] * num_ranks
        self.after: list[Sequence[str]] = [()] * num_ranks
        self.port = free_port()
        self.requests: list[int] = []
        self._words = [
            sys.executable, "-m", "pangu_alpha.cli.main", "train", str(project.recipe), f"output={self.output}",
            f"tokenizer={project.folder / 'tokenizer'}", "data.validation=[]", "fuse_operators=false",
            f"parallel.dp={num_ranks}",
        ]  # fmt: skip

    def fail(self) -> None:
        """Run it to its failure."""
        num_ranks, scheduler = len(self.folders), Scheduler("127.0.0.1", self.port)
        tasks = []
        if num_ranks > 1:
            environment = scheduler_environment(num_ranks, scheduler)
            tasks.append(ProcessOrder("scheduler", (sys.executable, "-c", SCHEDULER), environment))
        for rank, folder in enumerate(self.folders):
            words = ["env", "-C", str(folder), *self.before[rank], *self._words, *self.after[rank]]
            alone = {"RANK_ID": "0", "RANK_SIZE": "1"}
            joined = worker_environment("cpu", Card(rank, rank), num_ranks, scheduler, "127.0.0.1", num_servers=1)
            tasks.append(ProcessOrder(f"rank {rank}", words, joined if num_ranks > 1 else alone))
        with pytest.raises(TrainingError), Job(self.requests, self.logs / "exits.json") as job:
            start(tasks, self.logs, job)
            job.watch(None)


def _limited(*limits: str) -> tuple[str, ...]:
    return ("bash", "-c", f'ulimit {" ".join(limits)} && exec "$@"', "bash")


def test_a_killed_rank(tiny_project: TinyProject) -> None:
    job = FailingJob(tiny_project, "killed_rank")
    # Between two of its many saves a screen may say "saving".
    job.after = [("train.steps=100000", "train.checkpoint_every=100000")] * 2
    screens: list[str] = []
    with ThreadPoolExecutor() as pool:
        end = pool.submit(job.fail)
        try:
            while not end.done() and "2 ×  training  step" not in "".join(screens[-1:]):
                if read_heartbeats(job.output):
                    screens.append(describe_status(job.output, read_status(job.output)))
                time.sleep(0.1)
            os.kill(read_heartbeats(job.output)[1].pid, signal.SIGKILL)
        except BaseException:
            job.requests.append(KILL)
            raise
        end.result()
    diagnosis = diagnose(job.output)
    assert diagnosis.failures[0].name == "rank 1"
    assert "rank 1 failed first" in describe(diagnosis) and "killed by SIGKILL, after step" in describe(diagnosis)
    assert any("compiling  for" in screen for screen in screens), screens
    assert "rank 0-1  2 ×  training  step" in screens[-1]
    # Rank 1 may have ended a step that rank 0 had not written yet.
    assert 0 <= (last_step(job.output) or 0) - tiny_project.records("killed_rank")[-1]["step"] <= 1


def test_a_port_in_use(tiny_project: TinyProject) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        job = FailingJob(tiny_project, "port_in_use")
        job.port = other.getsockname()[1]
        job.fail()
    # A rank may see first that nobody answers; the cause is the scheduler's all the same.
    first = next(failure for failure in diagnose(job.output).failures if failure.weight == Weight.CAUSE)
    assert first.name == "scheduler"
    assert "another process listens on the port" in first.cause
    # Which of MindSpore's two lines about it comes first differs; only one of them has the number.
    assert "scheduler.log" in first.evidence and re.search(rf"{job.port}|port .* occupied", first.evidence)


def test_a_file_that_one_rank_does_not_have(tiny_project: TinyProject, tmp_path: Path) -> None:
    job = FailingJob(tiny_project, "missing_file")
    job.folders[1] = tmp_path  # another server, without the token files
    job.fail()
    diagnosis = diagnose(job.output)
    assert (diagnosis.failures[0].name, diagnosis.failures[0].weight) == ("rank 1", Weight.CAUSE)
    assert "tokens/train" in diagnosis.failures[0].cause
    assert diagnosis.settings == {}


def test_settings_that_differ_on_one_rank(tiny_project: TinyProject) -> None:
    job = FailingJob(tiny_project, "other_settings")
    job.after[1] = ("train.seed=5",)
    job.fail()
    diagnosis = diagnose(job.output)
    assert diagnosis.failures[0].name == "rank 1"
    assert diagnosis.failures[0].cause == "train.seed is 5, not 1 as on rank 0"
    assert tiny_project.records("other_settings") == [], "they trained with different settings"


def test_a_disk_that_is_full(tiny_project: TinyProject) -> None:
    job = FailingJob(tiny_project, "disk_full", num_ranks=1)
    job.before[0] = _limited("-f", "64")  # KiB a file: the records fit, a checkpoint does not
    job.fail()
    diagnosis = diagnose(job.output)
    assert "limit on file sizes" in diagnosis.failures[0].cause
    # The checkpoint of step 5 is written while the training goes on, at most until that of step 10 waits for it.
    assert re.search(r"after step ([5-9]|10),", diagnosis.failures[0].how)
    assert last_step(job.output) in range(5, 11)


def test_memory_that_runs_out(tiny_project: TinyProject) -> None:
    job = FailingJob(tiny_project, "out_of_memory", num_ranks=1)
    job.before[0] = _limited("-v", "1500000")  # KiB
    job.fail()
    first = diagnose(job.output).failures[0]
    assert (first.name, first.cause) == ("rank 0", "the process could not get memory on its host")
