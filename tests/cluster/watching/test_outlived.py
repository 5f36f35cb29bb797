"""What a process went on after is a hint, and never hides what it ended of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pangu_alpha.cluster.watching.diagnosis import Weight, describe, diagnose
from pangu_alpha.cluster.watching.known_failures import find_failure
from pangu_alpha.cluster.watching.logs import read_log

if TYPE_CHECKING:
    from tests.cluster.conftest import RecordedRun

WARN = "[WARNING] DISTRIBUTED(1,7f0,python):2025-03-01-10:00:01.123.456 [mindspore/ccsrc/tcp_comm.cc:485] "
ERROR = "[ERROR] DISTRIBUTED(1,7f0,python):2025-03-01-10:00:01.123.456 [mindspore/ccsrc/tcp_comm.cc:485] "
NOT_CONNECTED = "Connect] Failed to connect to the meta server node url: 10.0.0.1:8118. Retry to reconnect(1/1)...\n"
INITIALIZED = (
    "[WARNING] DISTRIBUTED(1,7f,python):2025-03-01-10:00:02.1.2 [a.cc:1] Cluster is successfully initialized.\n"
)
COMPILING = "compiling; the first step takes a while\n"
STRATEGY = "RuntimeError: The strategy is ((8, 1), (1, 8)), the value of strategy must be the power of 2"
SPAWNED = "RuntimeError: Failed to initialize distributed job cluster because some processes are not spawned.\n"


@pytest.mark.parametrize(
    ("before", "last", "hint"),
    [
        (f"{WARN}{NOT_CONNECTED}{INITIALIZED}{COMPILING}", STRATEGY, "scheduler lost"),
        (f"{WARN}{NOT_CONNECTED}{COMPILING}", STRATEGY, "scheduler lost"),
        (f"{WARN}{NOT_CONNECTED}", STRATEGY, "scheduler lost"),
        (f"{ERROR}{NOT_CONNECTED}{INITIALIZED}", STRATEGY, "scheduler lost"),
        (
            "OSError: [Errno 28] No space left on device: '/root/.cache/x'\n[WARNING] cache not written, going on\n",
            "RuntimeError: Compile graph failed: op FlashAttention unsupported shape",
            "disk full",
        ),
        (f"OSError: [Errno 28] No space left on device: '/root/.cache/x'\n{COMPILING}", STRATEGY, "disk full"),
        (
            "[WARNING] Name or service not known: telemetry host\n",
            "RuntimeError: Invalid pattern",
            "host name not known",
        ),
        ("[WARNING] free memory size is less than half of total\n", "RuntimeError: Graph cycle", "card occupied"),
        ("[WARNING] Can not find driver so libascendcl.so.\n", "RuntimeError: Invalid mask value", "no NPU software"),
        ("INFO: use_mmap=True; out of memory!!! threshold is 90%\n", "RuntimeError: Foo", "device out of memory"),
        ("[WARNING] too many open files\n", "[CRITICAL] CORE(1): Exec graph failed", "too many open files"),
        ("a.py:3: UserWarning: too many open files\n", "custom.FooError: Foo", "too many open files"),
        ("2025-01-01 10:00:00,123 WARNING too many open files\n", "custom.FooException", "too many open files"),
        ("step 3 loss 1\nMemoryError\nstep 4 loss 1\n", "RuntimeError: Foo", "host out of memory"),
    ],
)
def test_the_last_error_is_named_and_what_it_outlived_is_a_hint(
    before: str, last: str, hint: str, recorded_run: RecordedRun
) -> None:
    recorded_run.write("logs/rank_0.log", f"loading\n{before}Traceback (most recent call last):\n{last}\n")
    recorded_run.end({"rank": 0, "exit_code": 1})
    (failure,) = diagnose(recorded_run.output).failures
    assert (failure.weight, failure.cause) == (Weight.UNKNOWN, last)
    log = read_log(recorded_run.output / "logs" / "rank_0.log")
    assert log.finding is None and log.hint is not None and log.hint.failure.name == hint
    assert f"  hint   {failure.hint}" in describe(diagnose(recorded_run.output)) and log.hint.line in failure.hint


@pytest.mark.parametrize(
    ("text", "name"),
    [
        # MindSpore says these in warnings only, and then what they came to.
        (
            "[WARNING] BuildCluster] Topology build timed out., retry(60/60).\n" + SPAWNED,
            "ranks did not find each other",
        ),
        ("[WARNING] Listen] Failed to call bind, url: x Address already in use\n" + SPAWNED, "scheduler port in use"),
        ("[WARNING] This node could be redundant and is not successfully registered.\n", "rank not registered"),
        (
            "[ERROR] retcode: 507011 ( model execute failed)\n[WARNING] GetNext error may be caused by slow data\n",
            "data came too late",
        ),
        ("[WARNING] free memory size is less than half of total\nOut of Memory!!! Request: 3B\n", "card occupied"),
        (WARN + NOT_CONNECTED, "scheduler lost"),
        # The same said twice: in a warning and as an error.
        ("[WARNING] too many open files\nOSError: [Errno 24] Too many open files: 'x'\n", "too many open files"),
        # An error that another one wraps.
        (
            "[ERROR] HCCL EJ0001: last training\nRuntimeError: Create hccl_world_group failed\n",
            "last training still runs",
        ),
        (f"{ERROR}Sync default stream failed.\nRuntimeError: Call runtime rtSetDevice error\n", "stream failed"),
        ("RuntimeError: Out of Memory!!! see the [WARNING] above\n", "device out of memory"),
    ],
)
def test_a_cause_is_one_in_whatever_way_it_is_said(text: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "rank_0.log").write_text(f"loading\n{text}")
    log = read_log(tmp_path / "rank_0.log")
    assert log.finding is not None and log.finding.failure.name == name and log.hint is None


def test_a_warning_hides_neither_the_loss_of_a_rank_nor_its_crash(recorded_run: RecordedRun) -> None:
    warning = "[WARNING] DEVICE: device memory is not enough, trying to free and retry\n"
    recorded_run.write(
        "logs/rank_0.log", f"{warning}EI0002: The wait of the Notify register times out. remote rank [3]\n"
    )
    recorded_run.write("logs/rank_3.log", warning)
    recorded_run.end({"rank": 0, "exit_code": 1}, {"rank": 3, "exit_code": 139})
    assert [failure.name for failure in diagnose(recorded_run.output).failures] == ["rank 3", "rank 0"]


def test_an_outlived_error_does_not_hide_a_crash(recorded_run: RecordedRun) -> None:
    recorded_run.write("logs/rank_0.log", "step 1 loss 3\nOSError: [Errno 28] No space left on device\nstep 2 loss 3\n")
    recorded_run.end({"rank": 0, "signal": "SIGSEGV"})
    assert diagnose(recorded_run.output).failures[0].cause == "crashed (SIGSEGV) in compiled code"


def test_a_warning_in_an_error_message_is_no_cause() -> None:
    assert find_failure("RuntimeError: Foo\n[WARNING] too many open files") is None


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("Device 3 call rtSetDevice failed, ret[507033]. Got device count[8] and device id[3]", "card does not start"),
        ("Device 0 call aclrtSetDevice failed, ret[507899]. Got device count[8] and device id[0]", "driver broke"),
        ("Device 9 call aclrtSetDevice failed, ret[107001]. Got device count[8]", "card does not exist"),
        ("Device 8 call rtSetDevice failed, ret[4]. Got device count[8] and device id[8]", "card does not exist"),
        ("Device 7 call rtSetDevice failed, ret[4]. Got device count[8] and device id[7]", None),
        ("[ERROR] DRV set device=3 failed", None),
        ("aclrtMalloc failed, ret: 507899", "driver broke"),
        ("Call rtMalloc failed, ret[507033]", "card does not start"),
        ("aclrtMallocHost failed, ret: 507899", "driver broke"),
        ("aclrtMalloc failed, ret: 207001", "device out of memory"),
        ("Call rtMalloc fail, purpose: page caching, size:3221291008", "device out of memory"),
    ],
)
def test_the_code_says_why_a_call_failed(line: str, name: str | None) -> None:
    finding = find_failure(f"RuntimeError: {line}, please check if device id is valid.")
    assert (finding and finding.failure.name) == name
