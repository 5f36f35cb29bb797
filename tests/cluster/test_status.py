"""What the status of a cluster says, for ranks in every state."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from pangu_alpha.cluster.status import SILENT, Status, describe, read_status
from pangu_alpha.errors import ClusterError

if TYPE_CHECKING:
    from tests.cluster.conftest import RecordedRun


def _rows(run: RecordedRun) -> tuple[Status, dict[str, tuple[int, ...]]]:
    status = read_status(run.output, run.now)
    return status, {row.state: row.ranks for row in status.rows}


def test_ranks_that_say_the_same_are_one_row(recorded_run: RecordedRun) -> None:
    for rank in range(4):
        recorded_run.say(rank, "training", 57 + rank % 2)
    status, rows = _rows(recorded_run)
    assert rows == {"training": (0, 1, 2, 3)}
    text = describe(recorded_run.output, status)
    assert "4 ranks on 2 host(s), 100 steps" in text
    assert "rank 0-3  4 ×  training  step 57 to 58, the last one 0.5 s ago, 0.5 s a step" in text
    assert text.endswith("all is well")


def test_compiling_is_said(recorded_run: RecordedRun) -> None:
    for rank in range(4):
        recorded_run.say(rank, "compiling", 0, age=754)
    status, rows = _rows(recorded_run)
    assert rows == {"compiling": (0, 1, 2, 3)}
    assert status.rows[0].says == "for 12 min 34 s"
    assert status.summary.startswith("compiling: the first step comes after it")


def test_a_silent_rank_is_named_with_its_last_words(recorded_run: RecordedRun) -> None:
    for rank in range(4):
        recorded_run.say(rank, "training", 57, time=recorded_run.now - (SILENT + 5 if rank == 3 else 1))
    status, rows = _rows(recorded_run)
    assert rows == {"training": (0, 1, 2), "silent": (3,)}
    assert "said last: training, step 57, 1 min 00 s ago, on node-1 (process 4003)" in describe(
        recorded_run.output, status
    )
    assert "pangu diagnose" in status.summary


def test_a_rank_behind_is_named_when_the_others_wait_for_it(recorded_run: RecordedRun) -> None:
    for rank in range(4):
        recorded_run.say(rank, "training", 57 if rank != 2 else 56, age=30)
    status, rows = _rows(recorded_run)
    assert rows == {"training": (0, 1, 3), "behind": (2,)}
    assert "step 56, on node-1 (process 4002)" in describe(recorded_run.output, status)
    assert "py-spy" in status.summary


def test_records_of_a_moving_job_that_lag_are_not_behind(recorded_run: RecordedRun) -> None:
    for rank in range(4):
        recorded_run.say(rank, "training", 57 - rank, age=1 + rank, step_seconds=0.3)
    assert _rows(recorded_run)[1] == {"training": (0, 1, 2, 3)}


def test_a_rank_that_joins_cannot_write_and_is_not_silent(recorded_run: RecordedRun) -> None:
    for rank in range(3):
        recorded_run.say(rank, "joining", age=300, time=recorded_run.now - 300)
    status, rows = _rows(recorded_run)
    assert rows == {"joining": (0, 1, 2), "missing": (3,)}
    assert status.rows[0].says == "waiting for all other ranks for 5 min 00 s"
    assert status.summary == "not all ranks have started; the others wait for them"


def test_one_that_died_is_told_from_those_the_launcher_ended(recorded_run: RecordedRun) -> None:
    for rank in range(4):
        recorded_run.say(rank, "training", 57, time=recorded_run.now - 30)
    recorded_run.end({"rank": 1, "signal": "SIGKILL"})
    status, rows = _rows(recorded_run)
    assert rows == {"ended": (0, 2, 3), "died": (1,)}
    assert status.is_over
    assert "killed by SIGKILL, having said: training, step 57, on node-0 (process 4001)" in describe(
        recorded_run.output, status
    )


def test_a_failed_rank_says_why(recorded_run: RecordedRun) -> None:
    recorded_run.say(0, "failed", 57, error="RuntimeError:\n------\n- Kernel error:\n------\nLaunch kernel failed: X")
    for rank in (1, 2, 3):
        recorded_run.say(rank, "training", 57)
    assert "RuntimeError: - Kernel error: Launch kernel failed: X" in describe(
        recorded_run.output, _rows(recorded_run)[0]
    )


def test_an_end_of_an_earlier_attempt_means_nothing(recorded_run: RecordedRun) -> None:
    for rank in range(4):
        recorded_run.say(rank, "training", 57)
    recorded_run.end({"rank": 1, "signal": "SIGKILL", "time": recorded_run.now - 100})
    assert _rows(recorded_run)[1] == {"training": (0, 1, 2, 3)}


def test_a_job_that_hangs_is_called_so(recorded_run: RecordedRun) -> None:
    for rank in range(4):
        recorded_run.say(rank, "training", 57, age=400)
    assert "no rank has done anything for 6 min 40 s: the job hangs" in _rows(recorded_run)[0].summary


@pytest.mark.parametrize("phase", ["ended", "stopped"])
def test_a_finished_job(recorded_run: RecordedRun, phase: str) -> None:
    for rank in range(4):
        recorded_run.say(rank, phase, 100, time=recorded_run.now - 9000)
    status, _ = _rows(recorded_run)
    assert status.is_over and status.summary == "all ranks have ended well"


def test_2048_ranks_fit_on_a_screen(recorded_run: RecordedRun) -> None:
    for rank in range(2048):
        dead = rank // 8 == 200
        recorded_run.say(
            rank, "training", 57, num_ranks=2048, host=f"node-{rank // 8}", time=recorded_run.now - 90 * dead
        )
    start = time.perf_counter()
    text = describe(recorded_run.output, read_status(recorded_run.output, recorded_run.now))
    assert time.perf_counter() - start < 5
    assert "2048 ranks on 256 host(s)" in text
    assert "rank 1600-1607" in text and "silent" in text and "node-200" in text
    assert len(text.splitlines()) == 4 and max(map(len, text.splitlines())) < 160


def test_no_run(recorded_run: RecordedRun) -> None:
    with pytest.raises(ClusterError, match="has no heartbeats"):
        read_status(recorded_run.output)
