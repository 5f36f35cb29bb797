"""Files appear whole or not at all, and folders are read completely or refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pangu_alpha.files import aside_of, files_below, remove_leftovers, write_text, written_aside


def test_what_is_written_aside_gets_its_name_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "loss.png"
    path.write_text("before")
    with written_aside(path) as aside:
        aside.write_text("after")
        assert path.read_text() == "before"
        assert aside.suffix == ".png" and aside.name.startswith(".")
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "step_00000001"
    with pytest.raises(RuntimeError), written_aside(path) as aside:
        aside.mkdir()
        (aside / "weights").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_two_writers_have_different_names_and_leftovers_of_one_file_only_go(tmp_path: Path) -> None:
    path = tmp_path / "train.bin"
    first, second = aside_of(path), aside_of(path)
    assert first != second
    first.write_text("killed")
    other = aside_of(tmp_path / "train.idx")
    other.write_text("another's")
    remove_leftovers(path)
    assert list(tmp_path.iterdir()) == [other]


def test_links_to_folders_are_followed_but_not_round_and_round(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    write_text(tmp_path / "real" / "deep" / "a.txt", "天")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "deep" / "back").symlink_to(root)
    assert [path.relative_to(root).as_posix() for path in files_below(root)] == ["link/deep/a.txt"]


def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="a link that leads nowhere"):
        list(files_below(tmp_path))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A pipe: to open it would wait for ever, and to leave it out says nothing."""
    write_text(tmp_path / "a.txt", "天")
    os.mkfifo(tmp_path / "p.txt")
    with pytest.raises(OSError, match="a pipe, a socket or a device"):
        list(files_below(tmp_path))
