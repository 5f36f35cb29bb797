from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pangu_alpha.cluster.launching.job import KILL, Job, ProcessOrder, move_aside, next_attempt, start
from pangu_alpha.cluster.watching.exits import read_exits
from pangu_alpha.errors import ClusterError, TrainingError


def _shell(name: str, script: str, **environment: str) -> ProcessOrder:
    return ProcessOrder(name, ("sh", "-c", script), environment)


def _run(tasks: list[ProcessOrder], logs: Path, requests: list[int] | None = None) -> list[int]:
    """Run `tasks` as a job; the exit codes of all."""
    logs.mkdir(exist_ok=True)
    with Job(requests if requests is not None else [], logs / "exits.json") as job:
        start(tasks, logs, job)
        job.watch(None)
    return [member.process.returncode for member in job.members]


def test_output_environment_and_directory(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    logs = tmp_path / "logs"
    logs.mkdir()
    with Job([]) as job:
        task = _shell("rank 3", "echo 天下 $RANK_ID $OMP_NUM_THREADS; pwd >&2", RANK_ID="3", OMP_NUM_THREADS="5")
        start([task], logs, job, tmp_path / "place")
        job.watch(None)
    assert (logs / "rank_3.log").read_text() == f"天下 3 5\n{tmp_path / 'place'}\n"


def test_scheduler_does_not_keep_a_job_alive(tmp_path: Path) -> None:
    codes = _run([_shell("scheduler", "sleep 100"), _shell("rank 0", "true")], tmp_path / "logs")
    assert codes == [-signal.SIGKILL, 0]


def test_death_is_explained_and_recorded(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    noise = "echo '[INFO] DISTRIBUTED(1): a socket'"
    tasks = [_shell("rank 0", "sleep 100"), _shell("rank 1", f"seq 40; echo 显存不足; {noise}; exit 7")]
    begin = time.time()
    with pytest.raises(TrainingError) as caught:
        _run(tasks, logs)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"rank 1 died (exit code 7), the last lines of {logs / 'rank_1.log'}:"
    assert lines[1:] == [*(f"  {i}" for i in range(27, 41)), "  显存不足"]
    (end,) = json.loads((logs / "exits.json").read_text())
    assert (end["rank"], end["exit_code"]) == (1, 7)
    assert begin <= end["time"] <= time.time()


def test_those_ended_with_the_job_are_recorded_apart(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    with pytest.raises(TrainingError):
        _run([_shell("rank 0", "sleep 100"), _shell("rank 1", "exit 7")], logs)
    ends = read_exits(logs, {}, {})
    assert (ends["rank 0"].with_job, ends["rank 0"].signal) == (True, "SIGKILL")
    assert (ends["rank 1"].with_job, ends["rank 1"].exit_code) == (False, 7)


def test_the_killed_one_is_named_before_those_it_took_along(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    wait = f"while [ ! -e {gate} ]; do sleep 0.01; done"
    tasks = [_shell(f"rank {i}", f"{wait}; exit 1") for i in range(7)]
    tasks.append(_shell("rank 7", f"{wait}; kill -9 $$"))
    logs = tmp_path / "logs"
    logs.mkdir()
    with Job([]) as job, pytest.raises(TrainingError) as caught:
        start(tasks, logs, job)
        gate.touch()
        for member in job.members:
            member.process.wait()
        job.watch(None)
    text = str(caught.value)
    assert text.startswith("rank 7 died (killed by SIGKILL), and ")
    assert text.endswith("and 4 more at the same time") and text.count("died") == 4


def test_signal_lets_ranks_save_and_leaves_the_scheduler_to_them(
    tmp_path: Path, meanwhile: Callable[..., None]
) -> None:
    requests: list[int] = []
    script = "trap 'echo saved; exit 143' TERM; echo ready; while true; do sleep 0.05; done"
    tasks = [_shell("scheduler", "sleep 100"), _shell("rank 0", script), _shell("rank 1", script)]
    logs = tmp_path / "logs"

    def both_are_ready() -> bool:
        return all((logs / f"rank_{i}.log").exists() and (logs / f"rank_{i}.log").read_text() for i in (0, 1))

    meanwhile(requests, (both_are_ready, lambda: requests.append(signal.SIGINT)))
    assert _run(tasks, logs, requests) == [-signal.SIGKILL, 143, 143]
    assert (logs / "rank_1.log").read_text() == "ready\nsaved\n"


@pytest.mark.parametrize("requests", [[signal.SIGTERM, KILL], [signal.SIGINT] * 3])
def test_rank_that_ignores_the_signal_is_killed_on_request(tmp_path: Path, requests: list[int]) -> None:
    with pytest.raises(TrainingError, match="ended at once, as asked"):
        _run([_shell("rank 0", "trap '' TERM; sleep 100")], tmp_path / "logs", requests)
    assert not (tmp_path / "logs" / "exits.json").exists()


def test_missing_program_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"rank 0 cannot be started: .*no_such_program"):
        _run([ProcessOrder("rank 0", ("no_such_program",), {})], tmp_path / "logs")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_cores_are_pinned(tmp_path: Path) -> None:
    program = (sys.executable, "-S", "-c", "import os; print(sorted(os.sched_getaffinity(0)))")
    _run([ProcessOrder(f"rank {i}", program, {}, i, 2) for i in (0, 1)], tmp_path / "logs")
    first, second = (json.loads((tmp_path / "logs" / f"rank_{i}.log").read_text()) for i in (0, 1))
    assert first and second and not set(first) & set(second)
    assert sorted(first + second) == sorted(os.sched_getaffinity(0))


def test_logs_of_earlier_attempts_are_kept(tmp_path: Path) -> None:
    for attempt in range(3):
        log = tmp_path / "rank_0.log"
        log.write_text(f"attempt {attempt}")
        move_aside([log, tmp_path / "missing.log"], next_attempt(tmp_path))
    assert [(tmp_path / f"attempt_{i}" / "rank_0.log").read_text() for i in range(3)] == [
        f"attempt {i}" for i in range(3)
    ]
    # A rank that was not in those attempts begins at the first.
    assert next_attempt(tmp_path, "rank_9.log") == tmp_path / "attempt_0"
