"""What the status of a cluster says, for ranks in every state."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pangu_alpha.cluster.watching.diagnosis import Weight, diagnose
from pangu_alpha.cluster.watching.heartbeat import read_heartbeats
from pangu_alpha.cluster.watching.status import SILENT, Status, describe, read_status
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


def test_one_that_was_stopped_has_ended_well_only_when_it_says_so(recorded_run: RecordedRun) -> None:
    for rank in range(4):
        recorded_run.say(rank, "stopped" if rank else "training", 57)
    recorded_run.end(*({"rank": rank, "exit_code": 143, "time": recorded_run.now} for rank in range(4)))
    rows = {row.state: row.ranks for row in read_status(recorded_run.output, recorded_run.now).rows}
    assert rows == {"stopped": (1, 2, 3), "died": (0,)}


def test_those_that_the_launcher_ended_are_known_at_once(recorded_run: RecordedRun) -> None:
    for rank in range(4):
        recorded_run.say(rank, "training", 57)
    recorded_run.end({"rank": 1, "signal": "SIGKILL", "time": recorded_run.now})
    others = [{"rank": rank, "signal": "SIGKILL", "time": recorded_run.now + 0.1} for rank in (0, 2, 3)]
    recorded_run.write("logs/ended.json", json.dumps(others))
    status, rows = _rows(recorded_run)
    assert rows == {"ended": (0, 2, 3), "died": (1,)}
    assert status.is_over and "pangu diagnose" in status.summary
    assert [failure.name for failure in diagnose(recorded_run.output).failures] == ["rank 1"]


def test_a_process_of_this_host_that_is_gone_is_known_at_once(recorded_run: RecordedRun) -> None:
    program = (
        "import sys; from pathlib import Path; from pangu_alpha.config import load_config; import os\n"
        "from pangu_alpha.cluster.watching.heartbeat import HeartbeatWriter\n"
        "writer = HeartbeatWriter(load_config('tiny_cpu', [f'output={sys.argv[1]}']), 0)\n"
        "writer.__enter__().report('joining'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(recorded_run.output)], check=False)
    status = read_status(recorded_run.output)
    assert [row.state for row in status.rows] == ["died"]
    assert "its process is gone, having said: joining" in status.rows[0].says
    (failure,) = diagnose(recorded_run.output).failures
    assert failure.weight == Weight.SILENT and "its process is gone" in failure.how


def _date_file(run: RecordedRun, rank: int, at: float) -> None:
    os.utime(run.output / "heartbeats" / f"rank_{rank}.json", (at, at))


def test_a_host_whose_clock_is_ahead_is_judged_by_the_dates_of_its_files(recorded_run: RecordedRun) -> None:
    now = recorded_run.now
    for rank in range(4):
        ahead = 300.0 * (rank > 1)
        written = now - (90 if rank == 3 else 1)
        recorded_run.say(rank, "training", 57, time=written + ahead, since=written + ahead)
        _date_file(recorded_run, rank, written)
    status, rows = _rows(recorded_run)
    assert rows == {"training": (0, 1, 2), "silent": (3,)}
    text = describe(recorded_run.output, status)
    assert "the clock of node-1 is up to 5 min 00 s ahead" in text and "all is well" not in text
    assert read_heartbeats(recorded_run.output)[2].clock_lead == pytest.approx(300)


def test_a_record_from_the_future_is_not_called_well(recorded_run: RecordedRun) -> None:
    for rank in range(4):
        recorded_run.say(rank, "training", 57, time=recorded_run.now + (300 if rank == 3 else -1))
    status, rows = _rows(recorded_run)
    assert rows == {"training": (0, 1, 2), "unclear": (3,)}
    assert "5 min 00 s ahead" in status.rows[-1].says and "all is well" not in status.summary


def test_a_host_whose_clock_is_behind_is_said_to_be_so(recorded_run: RecordedRun) -> None:
    for rank in range(4):
        recorded_run.say(rank, "training", 57, time=recorded_run.now - (300 if rank == 3 else 1))
        _date_file(recorded_run, rank, recorded_run.now - 1)
    status, rows = _rows(recorded_run)
    assert rows["silent"] == (3,)
    assert "its clock is behind" in status.rows[-1].says


def test_2048_ranks_fit_on_a_screen(recorded_run: RecordedRun) -> None:
    for rank in range(2048):
        dead = rank // 8 == 200
        recorded_run.say(
            rank, "training", 57, num_ranks=2048, host=f"node-{rank // 8}", time=recorded_run.now - 90 * dead
        )
    start = time.process_time()
    text = describe(recorded_run.output, read_status(recorded_run.output, recorded_run.now))
    assert time.process_time() - start < 5
    assert "2048 ranks on 256 host(s)" in text
    assert "rank 1600-1607" in text and "silent" in text and "node-200" in text
    assert len(text.splitlines()) == 4 and max(map(len, text.splitlines())) < 160


def test_one_record_among_2048_that_cannot_be_read_is_named(recorded_run: RecordedRun) -> None:
    for rank in range(2048):
        recorded_run.say(rank, "training", 57, num_ranks=2048)
    recorded_run.write("heartbeats/rank_700.json", '{"rank": 700, "num_ra')
    recorded_run.write("logs/exits.json", "[{")
    status = read_status(recorded_run.output, recorded_run.now)
    text = describe(recorded_run.output, status)
    assert "rank 0-699,701-2047  2047 ×  training" in text
    assert "rank 700                1 ×  unreadable" in text
    assert (
        f"cannot be read: {recorded_run.output}/heartbeats/rank_700.json: Expecting" in text or "Unterminated" in text
    )
    assert f"cannot be read: {recorded_run.output}/logs/exits.json: damaged" in text
    assert status.summary == "as far as can be read: all is well" and not status.is_over


def test_settings_that_cannot_be_read_hide_nothing_else(recorded_run: RecordedRun) -> None:
    recorded_run.say(0, "training", 57, num_ranks=1)
    recorded_run.write("heartbeats/settings_usual.json", "")
    text = describe(recorded_run.output, read_status(recorded_run.output, recorded_run.now))
    assert "1 ranks on 1 host(s), ? steps" in text and "settings_usual.json cannot be read (it is empty)" in text


def test_a_folder_that_cannot_be_read_is_not_empty(recorded_run: RecordedRun) -> None:
    recorded_run.write("heartbeats", "a file")
    with pytest.raises(ClusterError, match=r"heartbeats cannot be read \(Not a directory\)"):
        read_status(recorded_run.output)


def test_no_run(recorded_run: RecordedRun) -> None:
    with pytest.raises(ClusterError, match="has no heartbeats"):
        read_status(recorded_run.output)
