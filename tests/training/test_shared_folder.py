"""Threads stand for the processes of two hosts; the folders are real."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.training import shared_folder
from pangu_alpha.training.shared_folder import is_shared


class Together:
    """What two processes agree by."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2, timeout=20)
        self.votes: list[int] = []

    def largest(self, number: int) -> int:
        self.votes.append(number)
        self.barrier.wait()
        largest = max(self.votes[-2:])
        self.barrier.wait()
        return largest


def ask(main: Path, other: Path) -> list[bool]:
    workers: Any = Together()
    answers = [False, True]

    def run(number: int, folder: Path) -> None:
        answers[number] = is_shared(folder, "a0", workers, is_main=number == 0)

    threads = [threading.Thread(target=run, args=item) for item in enumerate((main, other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_a_folder_that_both_see(tmp_path: Path) -> None:
    assert ask(tmp_path / "run", tmp_path / "run") == [True, True]
    assert list((tmp_path / "run").iterdir()) == []


def test_folders_of_the_same_name_on_two_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_folder, "PATIENCE", 0.2)
    (tmp_path / "other").mkdir()
    assert ask(tmp_path / "run", tmp_path / "other") == [False, False]
