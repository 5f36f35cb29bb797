"""Files that would never end, and folders that look empty because nobody may look."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pangu_alpha.reading import list_folder, number_in, read_text, whole_number


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="not a file"):
            read_text(path)
    with pytest.raises(IsADirectoryError):
        read_text(tmp_path)


def test_a_file_of_the_wrong_size_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1001)
    with pytest.raises(OSError, match="1,001 bytes, and no file of this kind has more than 1,000"):
        read_text(tmp_path / "large", 1000)


def test_a_folder_is_listed_or_cannot_be(tmp_path: Path) -> None:
    for name in ("rank_1.json", "rank_0.json", "settings.json"):
        (tmp_path / name).touch()
    assert [path.name for path in list_folder(tmp_path, "rank_*.json")] == ["rank_0.json", "rank_1.json"]
    assert list_folder(tmp_path / "nowhere") == []
    with pytest.raises(NotADirectoryError):
        list_folder(tmp_path / "settings.json")


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("007", 7), ("9" * 18, 10**18 - 1)])
def test_numbers(text: str, number: int) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize("text", ["", "-1", "1.5", "abc", "٣", "1_0", " 1", "9" * 5000])
def test_what_is_no_number(text: str) -> None:
    assert whole_number(text) is None


def test_numbers_of_the_environment() -> None:
    assert number_in({}, "RANK_ID", default=3) == number_in({"RANK_ID": ""}, "RANK_ID", default=3) == 3
    assert number_in({"B": "5"}, "A", "B", default=0) == 5
    with pytest.raises(ValueError, match="RANK_ID=abc in the environment is not a number"):
        number_in({"RANK_ID": "abc"}, "RANK_ID", default=0)
