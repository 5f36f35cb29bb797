"""Recorded failures of jobs: which rank is named, and what a user reads.

The lines are those that MindSpore, HCCL, CANN and the driver print, from their sources and from users' reports.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pangu_alpha.cluster.watching.diagnosis import Weight, describe, diagnose

RECORDINGS = Path(__file__).parent / "recordings"
SHARED = Path(os.environ.get("PANGU_ALPHA_TEST_CASES", Path(__file__).parents[3].parent / "shared/cases")) / "diagnose"
"""More of them, where they are there."""
EXPECTED = [
    ("agents_not_connected", "rank 0", Weight.CONSEQUENCE, ["waited for rank 4-7", "look     at rank 4-7 first"]),
    ("aicore_in_colour", "rank 1", Weight.CAUSE, ["card 6", "health -i 6", "rank_1.log:1: [rank1]: RuntimeError"]),
    ("card_does_not_start", "rank 2", Weight.CAUSE, ["card 2", "driver and firmware"]),
    ("chain_of_waiting_ranks", "rank 0", Weight.CONSEQUENCE, ["no cause was found", "look     at rank 2 first: 2"]),
    ("code_not_in_the_table", "rank 0", Weight.UNKNOWN, ["unknown", "EE4001", "rank_0.log:3: [ERROR] RUNTIME"]),
    ("cqe_error", "rank 4", Weight.CONSEQUENCE, ["card 1 of server 10.0.0.2", "hccn_tool"]),
    ("data_too_slow", "rank 0", Weight.CAUSE, ["waited for the next batch", "storage of data.train"]),
    ("earlier_message_first", "rank 1", Weight.CAUSE, ["no link", "hccn_tool", "then     rank 0"]),
    ("index_outside_of_table", "rank 0", Weight.CAUSE, ["AI CPU", "card 2", "rank_0.log:12: E39999: 2024"]),
    ("killed_as_137", "rank 1", Weight.CAUSE, ["exit code 137 (SIGKILL)", "dmesg"]),
    ("memory_fault_of_card", "rank 1", Weight.CAUSE, ["card 3", "cannot be corrected", "take the server out"]),
    ("mistake_in_gbk", "rank 0", Weight.UNKNOWN, ["unknown; the last error line is: IndexError: 样本编号超出范围"]),
    ("model_execute_failed", "rank 0", Weight.UNKNOWN, ["unknown", "card 5", "last   ", "rank_0.log:4: [ERROR]"]),
    ("only_progress", "rank 0", Weight.UNKNOWN, ["unknown; it left no message", "nothing but progress"]),
    ("operator_does_not_compile", "rank 0", Weight.CAUSE, ["cannot compile an operator", "QuantBatchMatmulV3"]),
    ("outlived_error", "rank 0", Weight.UNKNOWN, ["unknown; the last error line is: project.errors.OddityError:"]),
    ("scheduler_not_reached_at_first", "rank 0", Weight.UNKNOWN, ["last error line is: ValueError: 7 samples ÷ 2"]),
]  # fmt: skip
EXPECTED_SHARED = [
    ("b01_devid", "rank 1", Weight.CAUSE, ["gives rank 1 card 1, but the process runs on card 3", "VISIBLE_DEVICES"]),
    ("b03_ee1002", "rank 0", Weight.CONSEQUENCE, ["waited in a collective", "look at the other ranks"]),
    ("b04_107020", "rank 1", Weight.CONSEQUENCE, ["waited in a collective", "look at the other ranks"]),
    ("b06_aicore", "rank 1", Weight.CAUSE, ["card 4", "health -i 4", "take the server out", "then     rank 0,2"]),
    ("b07_lost_card", "rank 1", Weight.CAUSE, ["card 1", "lost its heartbeat", "health -i 1", "take the server out"]),
    ("b10_redundant", "rank 1", Weight.CAUSE, ["could not join the job", "MS_WORKER_NUM"]),
    ("b11_msrun_timeout_node", "scheduler", Weight.CONSEQUENCE, ["rank 3: it has died", "see the log of rank 3"]),
    ("b15_ms_pool_exit1", "rank 0", Weight.CAUSE, ["the card's memory", "more than total mem size"]),
    ("b16_error_lines", "rank 0", Weight.UNKNOWN, ["unknown", "rank_0.log:4: [ERROR]", "Sync default stream failed"]),
    ("b21_msrun_names", "rank 0", Weight.CAUSE, ["the card that the rank table gives rank 0", "VISIBLE_DEVICES"]),
]  # fmt: skip


def _check(folder: Path, tmp_path: Path, name: str, weight: Weight, words: list[str]) -> None:
    run = shutil.copytree(folder, tmp_path / "run")
    diagnosis = diagnose(run)
    assert (diagnosis.failures[0].name, diagnosis.failures[0].weight) == (name, weight), describe(diagnosis)
    text = describe(diagnosis)
    for word in words:
        assert word in text, text
    assert "{" not in text and "the first step takes a while" not in text and "\x1b" not in text


@pytest.mark.parametrize(("folder", "name", "weight", "words"), EXPECTED)
def test_a_recording(folder: str, name: str, weight: Weight, words: list[str], tmp_path: Path) -> None:
    _check(RECORDINGS / folder, tmp_path, name, weight, words)


def test_every_recording_is_expected_to_say_something() -> None:
    assert {path.name for path in RECORDINGS.iterdir()} == {name for name, *_ in EXPECTED}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared cases are not here")
@pytest.mark.parametrize(("folder", "name", "weight", "words"), EXPECTED_SHARED)
def test_a_shared_case(folder: str, name: str, weight: Weight, words: list[str], tmp_path: Path) -> None:
    _check(SHARED / folder, tmp_path, name, weight, words)


def test_a_long_path_takes_nothing_from_the_line(tmp_path: Path) -> None:
    run = shutil.copytree(RECORDINGS / "aicore_in_colour", tmp_path / ("a" * 200) / ("b" * 200))
    assert "rank_1.log:1: [rank1]: RuntimeError: NPU function error: " in (text := describe(diagnose(run)))
    assert "AclrtSynchronizeStreamWithTimeout, error code is 507035\n" in text.partition("rank_1.log:1: ")[2]
