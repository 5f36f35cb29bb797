from __future__ import annotations

import json
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pangu_alpha.checkpoint import Save, commit, list_checkpoints, open_checkpoint, save_part, save_whole, saving
from pangu_alpha.errors import CheckpointError, TrainingError
from pangu_alpha.parallel.parts import Box

WHOLE = np.arange(12, dtype=np.float32).reshape(6, 2)
SHAPES = {"a.weight": (6, 2)}
HALVES = (Box((0, 0), (3, 2)), Box((3, 0), (3, 2)))


def write(save: Save, rank: int, box: Box) -> None:
    save_part(save, rank, {"a.weight": box}, lambda boxes: [WHOLE[box.index] for box in boxes.values()])


def test_two_ranks_write_one_checkpoint(tmp_path: Path) -> None:
    save = Save(tmp_path, 7, "attempt")
    for rank, box in enumerate(HALVES):
        write(save, rank, box)
        assert list_checkpoints(tmp_path) == [], "it is there before the commit"
    path = commit(save, 2, SHAPES, {"note": 1})
    checkpoint = open_checkpoint(path)
    np.testing.assert_array_equal(checkpoint.read("a.weight", Box((2, 1), (2, 1))), WHOLE[2:4, 1:])
    assert [item.name for item in tmp_path.iterdir()] == ["step_00000007"]


def test_a_rank_that_does_not_come_is_named(tmp_path: Path) -> None:
    earlier = save_whole(tmp_path, 6, {"a.weight": WHOLE}, {})
    save = Save(tmp_path, 7, "attempt")
    write(save, 1, HALVES[1])
    with pytest.raises(CheckpointError, match=r"1 of 2 ranks has not written its part: \[0\].*Earlier .* untouched"):
        commit(save, 2, SHAPES, {}, patience=lambda: 0.2)
    assert list_checkpoints(tmp_path) == [earlier]


def test_a_rank_that_is_slow_but_writes_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = Save(tmp_path, 7, "attempt")
    write(save, 0, HALVES[0])
    slow = save.folder / "weights" / "rank_00009.safetensors"

    now = [0.0]

    def grow(_seconds: float) -> None:
        """What happens while `commit` sleeps."""
        now[0] += 0.4
        if now[0] < 3:
            slow.write_bytes(b"x" * round(now[0] * 10))
        else:
            slow.unlink()
            write(save, 1, HALVES[1])

    monkeypatch.setattr(saving, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=grow))
    assert open_checkpoint(commit(save, 2, SHAPES, {}, patience=lambda: 0.5)).step == 7
    assert now[0] > 3


def test_parts_of_another_attempt_do_not_count(tmp_path: Path) -> None:
    for rank, box in enumerate(HALVES):
        write(Save(tmp_path, 7, "dead"), rank, box)
    save = Save(tmp_path, 7, "new")
    write(save, 0, HALVES[0])
    with pytest.raises(CheckpointError, match=r"not written its part: \[1\]"):
        commit(save, 2, SHAPES, {}, patience=lambda: 0.2)


@pytest.mark.parametrize(
    ("boxes", "problem"),
    [
        ((HALVES[0], HALVES[0]), "hold the same part of it"),
        ((HALVES[1], Box((3, 0), (2, 2))), "no rank has written its first element"),
        (
            (HALVES[0], Box((3, 0), (2, 2))),
            r"the part that begins at \[3, 0\], of the shape \[3, 2\]; 1 of 2 are missing",
        ),
        ((Box.all_of((6, 2)), HALVES[1]), "2 parts of it, of which 1 make it up"),
    ],
)
def test_parts_that_do_not_make_up_the_tensor_are_no_checkpoint(
    tmp_path: Path, boxes: tuple[Box, Box], problem: str
) -> None:
    save = Save(tmp_path, 7, "attempt")
    for rank, box in enumerate(boxes):
        write(save, rank, box)
    with pytest.raises(CheckpointError, match=problem):
        commit(save, 2, SHAPES, {})
    assert list_checkpoints(tmp_path) == []


@pytest.mark.parametrize(
    ("shapes", "problem"),
    [
        ({**SHAPES, "b": (2,)}, r"b: no rank has written its first element"),
        ({}, r"written a\.weight, of which the settings know nothing"),
    ],
)
def test_tensors_that_are_missing_or_unknown_are_named(tmp_path: Path, shapes: dict[str, Any], problem: str) -> None:
    save = Save(tmp_path, 7, "attempt")
    write(save, 0, Box.all_of((6, 2)))
    with pytest.raises(CheckpointError, match=problem):
        commit(save, 1, shapes, {})


def test_a_file_that_was_cut_after_it_was_written_is_no_checkpoint(tmp_path: Path) -> None:
    save = Save(tmp_path, 7, "attempt")
    write(save, 0, Box.all_of((6, 2)))
    file = save.folder / "weights" / "rank_00000.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="its writer wrote"):
        commit(save, 1, SHAPES, {})


def test_one_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    """The run went on from an earlier one, perhaps without some samples, and came here again."""
    for value in (1.0, 2.0):
        path = save_whole(tmp_path, 7, {"a.weight": np.full((2,), value, np.float32)}, {})
    assert open_checkpoint(path).read("a.weight", Box.all_of((2,))).tolist() == [2, 2]
    assert [item.name for item in tmp_path.iterdir()] == ["step_00000007"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_not_saved(tmp_path: Path, bad: float) -> None:
    tensors = {"a": np.float32([1, 2]), "b": np.float32([[bad, 0]])}
    with pytest.raises(TrainingError, match="after step 7, b holds numbers that are not finite"):
        save_whole(tmp_path, 7, tensors, {})
    assert list(tmp_path.iterdir()) == []


def test_large_numbers_whose_sum_overflows_are_saved(tmp_path: Path) -> None:
    path = save_whole(tmp_path, 7, {"a": np.full(4, 3e38, np.float32)}, {})
    assert open_checkpoint(path).read("a", Box.all_of((4,))).tolist() == np.full(4, 3e38, np.float32).tolist()


def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="could not be written"):
        save_whole(tmp_path / "file" / "checkpoints", 1, {"a": WHOLE}, {})


@pytest.fixture
def small_files() -> Iterator[int]:
    """A limit of 64 KiB a file, which acts as a full disk does, without its signal."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield 1 << 16
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_explained_and_leaves_nothing(tmp_path: Path, small_files: int) -> None:
    save_whole(tmp_path, 1, {"a": WHOLE}, {})
    with pytest.raises(CheckpointError, match="Earlier checkpoints are untouched"):
        save_whole(tmp_path, 2, {"a": np.zeros(small_files, np.float32)}, {})
    with pytest.raises(CheckpointError, match="Earlier checkpoints are untouched"):
        save_whole(tmp_path, 2, {"a": WHOLE}, {"note": "记" * small_files})
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]


def test_the_index_is_one_that_json_readers_take(tmp_path: Path) -> None:
    path = save_whole(tmp_path, 3, {"a": WHOLE}, {"note": "记"})
    fields = json.loads((path / "index.json").read_text(encoding="utf-8"))
    assert (fields["version"], fields["step"], fields["state"]) == (3, 3, {"note": "记"})
    assert fields["tensors"]["a"] == {"shape": [6, 2], "cell": [6, 2], "files": [0]}


def test_a_rank_that_fails_takes_back_what_it_has_written_and_nothing_else(tmp_path: Path) -> None:
    save = Save(tmp_path, 7, "attempt")
    write(save, 0, HALVES[0])
    with pytest.raises(TrainingError):
        save_part(save, 1, {"a.weight": HALVES[1]}, lambda boxes: [np.float32([np.nan])])
    assert [path.name for path in (save.folder / "weights").iterdir()] == ["rank_00000.safetensors"]
    with pytest.raises(CheckpointError):
        commit(save, 2, SHAPES, {}, patience=lambda: 0.1)
    assert list(tmp_path.iterdir()) == []


def test_kills_at_any_moment_leave_a_whole_checkpoint_or_none(tmp_path: Path, killed_save: Callable[..., None]) -> None:
    for number in range(20):
        killed_save(tmp_path, number)
        for path in list_checkpoints(tmp_path):
            checkpoint = open_checkpoint(path)
            assert sum(checkpoint.check_contents()) > 0
            assert checkpoint.read("a", Box((0, 0), (1, 1)))[0, 0] == checkpoint.state["value"]


def test_one_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = save_whole(tmp_path, 7, {"a": WHOLE}, {"which": "old"})
    rename = Path.rename

    def fail(path: Path, target: Path) -> Path:
        if target == old and ".part" in path.name and (path / "index.json").exists() and not failed:
            failed.append(path)
            raise OSError(28, "No space left on device")
        return rename(path, target)

    failed: list[Path] = []
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(CheckpointError, match=r"No space left on device\. Earlier checkpoints are untouched"):
        save_whole(tmp_path, 7, {"a": WHOLE}, {"which": "new"})
    assert open_checkpoint(old).state == {"which": "old"}


def test_what_float32_cannot_hold_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="a holds numbers that are not finite"):
        save_whole(tmp_path, 7, {"a": np.array([1e300])}, {})
