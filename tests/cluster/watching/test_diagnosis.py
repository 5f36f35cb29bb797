"""Which failure is called the first cause, for what the processes of a job may leave."""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pangu_alpha.cli.main import main
from pangu_alpha.cluster.watching.diagnosis import Diagnosis, Weight, describe, diagnose
from pangu_alpha.errors import ClusterError

if TYPE_CHECKING:
    from tests.cluster.conftest import RecordedRun

MESSAGES = Path(__file__).parent / "messages"
TIMED_OUT, LOST = "HCCL_connection_timed_out", "collective_broken"


@pytest.fixture
def failed_run(recorded_run: RecordedRun) -> RecordedRun:
    """Four ranks that were training until a moment ago."""
    for rank in range(4):
        recorded_run.say(rank, "training", 57, time=recorded_run.now - 2)
        recorded_run.write(f"logs/rank_{rank}.log", "step 57/100 | loss 3.1\n")
    return recorded_run


@pytest.fixture(autouse=True)
def _at_the_recorded_time(recorded_run: RecordedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: recorded_run.now)


def _message(name: str) -> str:
    return (MESSAGES / f"{name}.txt").read_text(encoding="utf-8")


def _first(diagnosis: Diagnosis) -> tuple[str, Weight]:
    return diagnosis.failures[0].name, diagnosis.failures[0].weight


def test_nothing_has_failed(failed_run: RecordedRun) -> None:
    diagnosis = diagnose(failed_run.output)
    assert diagnosis.failures == ()
    assert diagnosis.others == {"training, step 57": (0, 1, 2, 3)}


def test_a_cause_comes_before_consequences_that_were_noted_earlier(failed_run: RecordedRun) -> None:
    failed_run.write("logs/rank_0.log", _message(LOST))
    failed_run.write("logs/rank_3.log", _message("device_out_of_memory"))
    failed_run.end(
        {"rank": 0, "exit_code": 1, "time": failed_run.now - 1.5},
        {"rank": 3, "exit_code": 1, "time": failed_run.now - 1.4},
    )
    diagnosis = diagnose(failed_run.output)
    assert _first(diagnosis) == ("rank 3", Weight.CAUSE)
    text = describe(diagnosis)
    assert "rank 3 failed first" in text and "does not fit into the card's memory" in text
    assert "then     rank 0: a collective broke off because another rank is gone" in text
    assert "others   rank 1-2, said last: training, step 57" in text


def test_those_that_died_of_the_same_are_one_line(failed_run: RecordedRun) -> None:
    for rank in range(4):
        failed_run.write(f"logs/rank_{rank}.log", f"EE1002: Stream synchronize timeout. device_id={rank}\n")
    failed_run.end(*({"rank": rank, "exit_code": 1, "time": failed_run.now - 2 + rank / 10} for rank in range(4)))
    text = describe(diagnose(failed_run.output))
    assert "card 0 of node-0 did not finish its work in time" in text
    (line,) = [line for line in text.splitlines() if line.startswith("then")]
    assert line.startswith("then     rank 1-3: the card of the rank did not finish its work in time")


def test_the_earlier_of_two_causes_is_the_first(failed_run: RecordedRun) -> None:
    for rank, age in ((1, 1.2), (2, 1.8)):
        failed_run.write(f"logs/rank_{rank}.log", _message("disk_full"))
        failed_run.say(rank, "failed", 57, time=failed_run.now - age)
    assert _first(diagnose(failed_run.output)) == ("rank 2", Weight.CAUSE)


def test_a_killed_rank_comes_before_those_that_lost_it(failed_run: RecordedRun) -> None:
    for rank in (0, 1, 3):
        failed_run.write(f"logs/rank_{rank}.log", _message(LOST))
    failed_run.end(
        *({"rank": rank, "exit_code": 1, "time": failed_run.now - 1.9} for rank in (0, 1, 3)),
        {"rank": 2, "signal": "SIGKILL", "time": failed_run.now - 1.0},
    )
    diagnosis = diagnose(failed_run.output)
    assert _first(diagnosis) == ("rank 2", Weight.CAUSE)
    assert "killed by SIGKILL" in diagnosis.failures[0].cause
    assert "then     rank 0-1,3:" in describe(diagnosis)


def test_a_kill_for_memory_is_found_in_the_kernel_log(
    failed_run: RecordedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = _message("killed_by_the_system_for_memory").split("] ", 1)[1].replace(" 1064 ", " 4711 ")
    dmesg = tmp_path / "dmesg"
    dmesg.write_text(f"#!/bin/sh\necho '[{time.monotonic() - 1:.6f}] {line.strip()}'\n")
    dmesg.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    failed_run.say(1, "saving", 57, time=failed_run.now - 2, host=socket.gethostname(), pid=4711)
    failed_run.end({"rank": 1, "signal": "SIGKILL"})
    (failure,) = diagnose(failed_run.output).failures
    assert failure.cause.startswith("the system killed the process because its host had no memory left")
    assert "Killed process 4711 (python)" in failure.evidence
    assert "while saving, step 57" in failure.how


def test_a_rank_gone_without_a_word_comes_before_those_that_lost_it(failed_run: RecordedRun) -> None:
    failed_run.say(1, "training", 57, time=failed_run.now - 100)
    failed_run.say(2, "failed", 57, error=_message(TIMED_OUT))
    diagnosis = diagnose(failed_run.output)
    assert _first(diagnosis) == ("rank 1", Weight.SILENT)
    assert [failure.name for failure in diagnosis.failures] == ["rank 1", "rank 2"]


def test_a_rank_that_still_compiles_is_where_to_look_when_others_time_out(failed_run: RecordedRun) -> None:
    for rank in (0, 1, 2):
        failed_run.say(rank, "failed", 0, error=_message(TIMED_OUT))
    failed_run.say(3, "compiling", 0, age=900)
    text = describe(diagnose(failed_run.output))
    assert "EI0006" in text and "still compiles" in text
    assert "others   rank 3, said last: compiling, step 0" in text
    assert "look     at those others first" in text


def test_settings_that_differ_are_named(failed_run: RecordedRun) -> None:
    failed_run.write("heartbeats/settings_odd.json", '{"train": {"steps": 100, "seed": 5}}')
    error = "ConfigError: the ranks of this job were started with different settings."
    for rank in range(4):
        failed_run.say(rank, "failed", None, error=error, settings="odd" if rank == 3 else "usual")
    diagnosis = diagnose(failed_run.output)
    assert _first(diagnosis) == ("rank 3", Weight.CAUSE)
    assert diagnosis.failures[0].cause == "train.seed is 5, not 1 as on rank 0-2"


def test_an_unknown_error_is_quoted(failed_run: RecordedRun) -> None:
    failed_run.write(
        "logs/rank_0.log", "Traceback (most recent call last):\nZeroDivisionError: 汉朝自高祖斩白蛇而起义\n"
    )
    failed_run.end({"rank": 0, "exit_code": 1})
    (failure,) = diagnose(failed_run.output).failures
    assert (failure.weight, failure.cause) == (Weight.UNKNOWN, "ZeroDivisionError: 汉朝自高祖斩白蛇而起义")
    assert "rank_0.log" in failure.fix


def test_a_process_that_never_wrote_a_record(failed_run: RecordedRun) -> None:
    failed_run.write("logs/scheduler.log", _message("scheduler_port_in_use"))
    failed_run.end({"name": "scheduler", "exit_code": 1})
    diagnosis = diagnose(failed_run.output)
    assert _first(diagnosis) == ("scheduler", Weight.CAUSE)
    assert "another process listens on the port" in describe(diagnosis)


def test_logs_alone_suffice(recorded_run: RecordedRun) -> None:
    recorded_run.write("logs/rank_0.log", _message(LOST))
    recorded_run.write("logs/rank_1.log", _message("last_training_still_runs"))
    recorded_run.write("logs/scheduler.log", _message("healthy"))
    assert [failure.name for failure in diagnose(recorded_run.output).failures] == ["rank 1", "rank 0"]


def test_exits_of_several_servers_are_read(failed_run: RecordedRun) -> None:
    failed_run.write("logs/exits_10.0.0.1.json", f'[{{"rank": 0, "exit_code": 1, "time": {failed_run.now}}}]')
    failed_run.write("logs/exits_10.0.0.2.json", f'[{{"rank": 2, "signal": "SIGSEGV", "time": {failed_run.now}}}]')
    diagnosis = diagnose(failed_run.output)
    assert _first(diagnosis) == ("rank 2", Weight.CAUSE)
    assert len(diagnosis.failures) == 2


def test_an_earlier_attempt(failed_run: RecordedRun) -> None:
    failed_run.write("logs/attempt_0/rank_1.log", _message("disk_full"))
    failed_run.write("logs/attempt_0/exits.json", '[{"rank": 1, "exit_code": 1, "time": 1.0}]')
    assert _first(diagnose(failed_run.output, attempt=0)) == ("rank 1", Weight.CAUSE)
    assert diagnose(failed_run.output).failures == ()
    with pytest.raises(ClusterError, match="attempt_7"):
        diagnose(failed_run.output, attempt=7)


def test_a_damaged_file_is_named(failed_run: RecordedRun) -> None:
    failed_run.write("logs/exits.json", '[{"rank": 1}]')
    diagnosis = diagnose(failed_run.output)
    assert "exits.json" in next(iter(diagnosis.unreadable))


def test_what_cannot_be_read_is_named_and_the_rest_is_diagnosed(failed_run: RecordedRun) -> None:
    failed_run.end({"rank": 3, "exit_code": 1, "time": failed_run.now - 1.4})
    failed_run.write("logs/rank_3.log", _message("device_out_of_memory"))
    failed_run.write("heartbeats/rank_1.json", "")
    log = failed_run.output / "logs" / "rank_2.log"
    log.unlink()
    log.mkdir()
    diagnosis = diagnose(failed_run.output)
    assert _first(diagnosis) == ("rank 3", Weight.CAUSE)
    record = failed_run.output / "heartbeats" / "rank_1.json"
    assert diagnosis.unreadable == {str(record): "it is empty", str(log): "Is a directory"}


def test_a_folder_of_logs_that_cannot_be_read(failed_run: RecordedRun, capsys: pytest.CaptureFixture[str]) -> None:
    logs = failed_run.output / "logs"
    shutil.rmtree(logs)
    logs.write_text("a file")
    assert diagnose(failed_run.output).unreadable == {str(logs): "Not a directory"}
    assert main(["diagnose", str(failed_run.output)]) == 0
    out = capsys.readouterr().out
    assert f"cannot be read: {logs}: Not a directory" in out and "nothing has failed, as far as can be read" in out


def test_where_nothing_can_be_read_nothing_is_called_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "heartbeats").mkdir()
    (tmp_path / "heartbeats" / "rank_0.json").write_text("{}")
    assert main(["diagnose", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "rank_0.json: not a record: it lacks rank, num_ranks, phase" in said.out
    assert "whether anything has failed cannot be told" in said.err and "nothing has failed" not in said.out


@pytest.mark.parametrize(
    "last",
    [
        "F0506 10:11:12.123456    12 foo.cc:12] Check failed: x == y (1 vs. 2)",
        "Aborted!",
        "Segmentation fault (core dumped)",
        "Fatal Python error: Bus error",
        "terminate called after throwing an instance of 'std::bad_alloc'",
    ],
)
def test_a_log_alone_tells_of_a_death_and_never_of_health(
    last: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "rank_0.log"
    log.write_text(f"step 1 loss 9.1\n{last}\n")
    (failure,) = diagnose(tmp_path).failures
    assert last in failure.evidence
    log.write_text("step 1 loss 9.1\nstep 2 loss 9.0\n")
    assert main(["diagnose", str(tmp_path)]) == 2
    assert "no heartbeat and no exit code of a process can be read" in capsys.readouterr().err


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="give the output directory"):
        diagnose(tmp_path / "nowhere")


SAVED = "checkpoint of step 57 in runs/x/checkpoints\nstopped at step 57; the same command goes on from there\n"
CANCELLED = "slurmstepd: error: *** STEP 1.0 ON n1 CANCELLED AT 2025-03-01T10:00:00 DUE TO {} ***\n"


@pytest.mark.parametrize(
    "line",
    [
        CANCELLED.format("NODE FAILURE"),
        CANCELLED.format("TIME LIMIT"),
        "Pod was terminated in response to imminent node shutdown.\n",
        "Preempted by pod 1234 on node n1\n",
        "Preempted in order to admit critical pod\n",
        "Pod was active on the node longer than the specified deadline\n",
    ],
)
@pytest.mark.parametrize("after", ["", "step 58/100 | loss 3.1\n", SAVED])
def test_a_stop_of_which_the_log_has_the_reason(line: str, after: str, recorded_run: RecordedRun) -> None:
    recorded_run.write("logs/rank_0.log", f"step 57/100 | loss 3.1\n{line}{after}")
    recorded_run.end({"rank": 0, "exit_code": 143})
    (failure,) = diagnose(recorded_run.output).failures
    assert failure.cause.startswith("the job system ended the job") and failure.evidence.endswith(line.strip())


def test_the_stop_of_one_rank_is_what_the_others_lost(recorded_run: RecordedRun) -> None:
    recorded_run.write("logs/rank_0.log", _message(TIMED_OUT))
    recorded_run.write("logs/rank_1.log", CANCELLED.format("TIME LIMIT"))
    recorded_run.end({"rank": 0, "exit_code": 1}, {"rank": 1, "exit_code": 143})
    assert _first(diagnose(recorded_run.output)) == ("rank 1", Weight.CAUSE)


@pytest.mark.parametrize(
    ("code", "cause"), [(143, "asked to end by SIGTERM before it could save"), (130, "stopped by Ctrl-C (SIGINT)")]
)
def test_a_stop_is_good_where_a_record_or_a_log_says_so(code: int, cause: str, failed_run: RecordedRun) -> None:
    ends = [{"rank": rank, "exit_code": code, "time": failed_run.now} for rank in range(4)]
    failed_run.end(*ends)
    diagnosis = diagnose(failed_run.output)
    assert [failure.name for failure in diagnosis.failures] == [f"rank {rank}" for rank in range(4)]
    assert diagnosis.failures[0].cause.startswith(cause)
    failed_run.write("logs/rank_0.log", SAVED)  # the ranks stop together, and this one speaks for all
    assert diagnose(failed_run.output).failures == ()
    failed_run.write("logs/rank_0.log", "")
    for rank in range(4):
        failed_run.say(rank, "stopped", 57)
    assert diagnose(failed_run.output).failures == ()


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ('{"rank": 0, "time": 1799999999, "exit_code": "1"}', "exit_code is '1'"),
        ('{"rank": 0, "time": 1799999999, "exit_code": true}', "exit_code is True"),
        ('{"rank": 0, "time": NaN, "exit_code": 1}', "time is nan"),
        ('{"rank": 0, "time": 1e18, "exit_code": 1}', "time is 1e+18"),
        ('{"rank": 0, "time": "now", "exit_code": 1}', "time is 'now'"),
        ('{"rank": 0, "exit_code": 1}', "no time"),
        ('{"rank": 1e999, "time": 1799999999, "exit_code": 1}', "rank is inf"),
        ('{"rank": -1, "time": 1799999999, "exit_code": 1}', "rank is -1"),
        ('{"rank": true, "time": 1799999999, "exit_code": 1}', "rank is True"),
        ('{"name": "rank x", "time": 1799999999, "exit_code": 1}', "name is 'rank x'"),
        ('{"name": 0, "time": 1799999999, "exit_code": 1}', "name is 0"),
        ('{"name": "\\ud800", "time": 1799999999, "exit_code": 1}', r"name is '\ud800'"),
        ('{"time": 1799999999, "exit_code": 1}', "neither rank nor name"),
        ('{"rank": 0, "time": 1799999999, "signal": {}}', "signal is {}"),
        ('{"rank": 0, "time": 1799999999}', "neither exit_code nor signal"),
        ("[]", "no end of a process"),
        ("7", "no end of a process"),
    ],
)
def test_an_odd_end_is_named_and_the_others_are_read(entry: str, what: str, failed_run: RecordedRun) -> None:
    good = f'{{"rank": 3, "exit_code": 1, "time": {failed_run.now}}}'
    failed_run.write("logs/exits.json", f"[{entry}, {good}]")
    failed_run.write("logs/rank_3.log", _message("disk_full"))
    diagnosis = diagnose(failed_run.output)
    assert diagnosis.unreadable == {str(failed_run.output / "logs" / "exits.json"): f"damaged, {what} in entry 1"}
    assert _first(diagnosis) == ("rank 3", Weight.CAUSE) and len(diagnosis.failures) == 1
    assert main(["status", str(failed_run.output)]) == 0


def test_ends_that_are_no_list_are_named(failed_run: RecordedRun) -> None:
    failed_run.write("logs/exits.json", '{"rank": 1}')
    assert list(diagnose(failed_run.output).unreadable.values()) == ["damaged, it is no list"]


@pytest.mark.parametrize("target", ["", "/dev/zero"])
def test_what_never_ends_is_named_and_not_read(
    target: str, failed_run: RecordedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["logs/rank_0.log", "logs/exits.json", "logs/command.sh", "heartbeats/rank_1.json", "metrics.jsonl"]
    for name in names:
        path = failed_run.output / name
        path.unlink(missing_ok=True)
        if target:
            path.symlink_to(target)
        else:
            os.mkfifo(path)
    failed_run.write("logs/exits_b.json", f'[{{"rank": 3, "exit_code": 1, "time": {failed_run.now}}}]')
    assert main(["diagnose", str(failed_run.output)]) == 0
    out = capsys.readouterr().out
    assert "rank 3 failed first" in out
    for name in names[:-1]:
        assert f"cannot be read: {failed_run.output / name}: a pipe, a socket or a device, not a file" in out
    assert main(["status", str(failed_run.output)]) == 0
    assert f"pace: {failed_run.output / 'metrics.jsonl'} cannot be read: a pipe" in capsys.readouterr().out


def test_a_link_to_nowhere_hides_no_log(failed_run: RecordedRun) -> None:
    (failed_run.output / "logs" / "worker_3.log").symlink_to("nowhere")
    failed_run.write("logs/rank_3.log", _message("disk_full"))
    failed_run.end({"rank": 3, "exit_code": 1})
    assert _first(diagnose(failed_run.output)) == ("rank 3", Weight.CAUSE)
