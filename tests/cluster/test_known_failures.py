"""Recorded messages are recognised, and what a healthy job prints is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pangu_alpha.cluster.known_failures import KNOWN_FAILURES, SIGNALS, find_failure

MESSAGES = Path(__file__).parent / "messages"
"""Named after the rows of the table. From MindSpore's and CANN's documentation and users' reports; those of CPU jobs
were recorded with MindSpore 2.10."""
RECORDED = {path.stem.replace("_", " "): path.read_text(encoding="utf-8") for path in MESSAGES.glob("*.txt")}
HEALTHY = RECORDED.pop("healthy")
VARIANTS = [
    ("rank table refused", "RuntimeError: Init plugin so failed, ret = 1343225860"),
    ("HCCL failed", "Distribute Task Failed, error msg: davinci_model : load task fail, return ret: 1343225860"),
    ("HCCL port in use", "HCCL function error: hcclCommInitRootInfoConfig(numRanks, rank, config), error code is 11"),
    ("HCCL port in use", "[PID: 9] Communication_Error_Bind_IP_Port(EI0019): Failed to bind the IP port."),
    ("HCCL connection timed out", "HCCL function error: HcclCommInitRootInfo(numRanks, rank), error code is 9"),
    ("device out of memory", "Memory_Allocation_Failure(EL0004): Failed to allocate memory requested by GE module."),
    ("device out of memory", "[driver interface] halMemAlloc failed: device_id=6, size=32212254720, type=2"),
    ("device out of memory", "Device(id:3) memory isn't enough and alloc failed, kernel name: Default/MatMul-op1"),
    ("host out of memory", "MemoryError: Unable to allocate 16.0 MiB for an array with shape (2048, 2048)"),
    ("host out of memory", "terminate called after throwing an instance of 'std::bad_alloc'"),
    ("disk full", "SafetensorError: Error while serializing: I/O error: File too large (os error 27)"),
    ("settings differ between ranks", "pangu: the ranks of this job were started with different settings. `pangu"),
    ("too many open files", "OSError: [Errno 24] Too many open files: 'tokens/train.bin'"),
    ("no NPU software", "device 'ascend' cannot be used here: libascendcl.so: cannot open shared object file"),
    ("network port down", "EJ0002: The network port is down.Suggest: check the cable"),
    ("HCCL versions differ", "EI0008: The HCCL versions are inconsistent: tag [x], local_version [1]"),
    ("HCCL setting invalid", "EI0001: Environment variable [HCCL_CONNECT_TIMEOUT] is invalid. Reason: x."),
]


@pytest.mark.parametrize(("name", "text"), [*RECORDED.items(), *VARIANTS])
def test_a_recorded_message_is_recognised(name: str, text: str) -> None:
    finding = find_failure(f"step 1/20 | loss 6.1\n{text}\nand more\n")
    assert finding is not None
    assert finding.failure.name == name
    assert finding.line and finding.line in text
    assert finding.cause and finding.failure.fix
    assert "{" not in finding.cause


def test_every_row_has_a_recorded_message() -> None:
    assert {row.name for row in KNOWN_FAILURES} == {*RECORDED, *(name for name, _ in VARIANTS)}


def test_what_a_healthy_job_prints_is_no_failure() -> None:
    assert find_failure(HEALTHY) is None


def test_the_lost_rank_is_named() -> None:
    finding = find_failure(RECORDED["rank lost"])
    assert finding is not None and re.search(r"\brank 1\b", finding.cause)


def test_our_own_message_is_the_cause() -> None:
    finding = find_failure(RECORDED["refused by pangu"])
    assert finding is not None and finding.cause.startswith("tokens/train.idx: no such token file")


def test_the_table_of_the_manual_is_this_one() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "failures.md").read_text(encoding="utf-8")
    rows = [(row.name, row.cause.replace("{message}", "what its message says"), row.fix) for row in KNOWN_FAILURES]
    for row in (*rows, *((name, *words) for name, words in SIGNALS.items())):
        assert f"| {' | '.join(row)} |" in manual
