"""What is read in a log of any size and encoding, and whose log a file is."""

from __future__ import annotations

import os
import time
import tracemalloc
from datetime import datetime
from pathlib import Path

import pytest

from pangu_alpha.cluster.watching.logs import Log, find_logs, read_log, time_of

PROGRESS = "step 57123/100000 | loss 3.1412 | lr 0.0001 | grad norm 1.332 | 16234.3 tokens/s | 7.8 s\n"
MEMORY = "EL0004: [PID: 9] 2025-05-01-10:10:01.111.111 Failed to allocate memory requested by GE module.\n"
WARNING = "[WARNING] ME(1:2,MainProcess):2025-05-01-10:10:{:02d}.000 [callback.py:12] a callback failed to be quick\n"


def _read(path: Path, text: str | bytes) -> Log:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_log(path)


def test_the_cause_is_found_far_from_the_end(tmp_path: Path) -> None:
    noise = "".join(WARNING.format(i % 60) for i in range(6000))
    assert len(noise) > 512 << 10
    log = _read(tmp_path / "rank_0.log", f"loading\n{MEMORY}{noise}RuntimeError: Sync stream failed.\n")
    assert log.finding is not None and log.finding.failure.name == "device out of memory"
    assert log.finding.at.number == 2
    assert log.last_error is not None and log.last_error.number == 6003


def test_a_long_log_is_read_quickly_and_never_held(tmp_path: Path) -> None:
    path = tmp_path / "rank_0.log"
    with path.open("w") as file:
        for _ in range(10):
            file.write(PROGRESS * 40_000)
        file.write(MEMORY)
    assert path.stat().st_size > 30 << 20
    tracemalloc.start()
    begin = time.process_time()
    log = read_log(path)
    seconds, (_, peak) = time.process_time() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert log.finding is not None and log.finding.at.number == 400_001
    assert peak < 12 << 20 and seconds < 20


def test_a_log_without_a_newline_is_read_in_pieces(tmp_path: Path) -> None:
    log = _read(tmp_path / "rank_0.log", b"x" * (5 << 20) + b"\n" + MEMORY.encode())
    assert log.finding is not None and log.finding.at.number == 2


def test_more_different_errors_than_are_judged(tmp_path: Path) -> None:
    words = [
        f"[ERROR] {'abcdefghij'[i % 10]}{'klmnopqrst'[i // 10 % 10]}{'uvwxyzABCD'[i // 100 % 10]}" for i in range(1000)
    ]
    unlike = "".join(f"{word} {'EFGHIJKLMNO'[k]} failed\n" for k in range(8) for word in words)
    log = _read(tmp_path / "rank_0.log", unlike + MEMORY + "KeyError: 'blocks'\n")
    assert log.finding is not None and log.finding.at.number == 8001
    assert log.last_error is not None and log.last_error.text == "KeyError: 'blocks'"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("IndexError: 样本编号超出范围".encode("gb18030"), "IndexError: 样本编号超出范围"),
        (b"\x1b[1;31mKeyError: 3\x1b[0m\r", "KeyError: 3"),
        (b"  3%|   | 1/40 [00:01<?]\rValueError: \x00\xff 7", "ValueError: ÿ 7"),
    ],
)
def test_a_line_is_made_readable(tmp_path: Path, line: bytes, text: str) -> None:
    log = _read(tmp_path / "rank_0.log", b"loading\n" + line + b"\n")
    assert log.last_error is not None
    assert log.last_error.text.replace("\ufffd", "ÿ") == text


def test_advice_of_cann_is_no_evidence(tmp_path: Path) -> None:
    log = _read(
        tmp_path / "rank_0.log",
        "EI0006: Getting socket times out. Reason: x\n        Solution: 1. Check whether the network port is down. "
        "2. Out of Memory!!!\n",
    )
    assert log.finding is not None and log.finding.failure.name == "HCCL connection timed out"


def test_a_bare_number_is_no_code(tmp_path: Path) -> None:
    log = _read(tmp_path / "rank_0.log", "failed to read sample 507015 of 207001\n")
    assert log.finding is None and log.last_error is not None


def test_files_of_ranks(tmp_path: Path) -> None:
    for name in ("rank_3", "worker_4", "worker_10.0.0.1_12", "job-x-worker-7", "scheduler", "host_10.0.0.1", "rank_x"):
        (tmp_path / f"{name}.log").touch()
    (tmp_path / "worker_3.log").touch()
    os.utime(tmp_path / "rank_3.log", (1, 1))
    assert {name: path.stem for name, path in find_logs(tmp_path).items()} == {
        "rank 3": "worker_3", "rank 4": "worker_4", "rank 12": "worker_10.0.0.1_12", "rank 7": "job-x-worker-7",
        "scheduler": "scheduler",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "[ERROR] HCCL(1,python):2025-08-27-20:10:17:012.780 [a.cc]",
        "2025-08-27 20:10:17,012 ERROR",
        "at 2025-08-27T20:10:17.012Z",
    ],
)
def test_times_of_several_forms(text: str) -> None:
    assert time_of(text) == pytest.approx(datetime(2025, 8, 27, 20, 10, 17).timestamp() + 0.012)
    assert time_of(text.replace("08-27", "02-31")) is None
