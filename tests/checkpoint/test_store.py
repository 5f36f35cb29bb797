from __future__ import annotations

import hashlib
import json
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pangu_alpha.checkpoint import (
    find_checkpoint,
    list_checkpoints,
    newest_good_checkpoint,
    open_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from pangu_alpha.errors import CheckpointError, TrainingError
from pangu_alpha.parallel.parts import Box


def save(root: Path, step: int) -> Path:
    weights = {"a.weight": np.full((3, 2), step, np.float32), "b": np.float32([step])}
    return save_checkpoint(root, step, {"weights": weights, "optimizer": {"adam_m.b": np.float32([7])}}, {"note": "记"})


def test_round_trip(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(save(tmp_path, 5))
    assert (checkpoint.step, checkpoint.state) == (5, {"note": "记"})
    assert checkpoint.shapes["weights"] == {"a.weight": (3, 2), "b": (1,)}
    np.testing.assert_array_equal(checkpoint.read("a.weight", Box.all_of((3, 2))), np.full((3, 2), 5, np.float32))
    assert checkpoint.read("a.weight", Box((1, 1), (2, 1))).tolist() == [[5], [5]]
    assert checkpoint.read("adam_m.b", Box.all_of((1,))).tolist() == [7]


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "index.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_any_damage_is_named(tmp_path: Path, name: str, damage: str) -> None:
    file = save(tmp_path, 5) / name
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(content)
    elif damage == "truncate":
        file.write_bytes(content[: len(content) // 2])
    else:
        file.unlink()
    with pytest.raises(CheckpointError):
        open_checkpoint(file.parent)


@pytest.mark.parametrize(
    ("before", "after"), [('"step": 5', '"step": 4'), ("记", "计"), ('"version": 2', '"version": 1')]
)
def test_an_index_that_was_changed_is_damaged(tmp_path: Path, before: str, after: str) -> None:
    """Its own checksum covers what it says of the run: 40 instead of 48 samples would train on other data."""
    index = save(tmp_path, 5) / "index.json"
    text = index.read_text(encoding="utf-8")
    assert before in text
    index.write_text(text.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"index\.json is damaged: its checksum is not its own"):
        open_checkpoint(index.parent)


def test_that_an_index_cannot_be_checked_is_said(tmp_path: Path) -> None:
    index = save(tmp_path, 5) / "index.json"
    fields = json.loads(index.read_text(encoding="utf-8"))
    del fields["checksum"]
    index.write_text(json.dumps({**fields, "version": 1}), encoding="utf-8")
    for find, place in (
        (newest_good_checkpoint, tmp_path),
        (find_checkpoint, tmp_path),
        (find_checkpoint, index.parent),
    ):
        reports: list[str] = []
        assert find(place, reports.append).step == 5  # type: ignore[union-attr]
        assert len(reports) == 1 and "has no checksum of itself" in reports[0]


def test_a_file_that_cannot_be_read_is_damage(tmp_path: Path) -> None:
    for step in (1, 2):
        save(tmp_path, step)
    weights = tmp_path / "step_00000002" / "weights.safetensors"
    weights.unlink()
    # Reading it fails as on a bad disk: memory of the process that is not mapped.
    weights.symlink_to("/proc/self/mem")
    reports: list[str] = []
    assert newest_good_checkpoint(tmp_path, reports.append).step == 1  # type: ignore[union-attr]
    assert "weights.safetensors cannot be read: Input/output error" in reports[0]
    prune_checkpoints(tmp_path, 1)
    assert (tmp_path / "step_00000001").exists()


def test_an_index_of_the_first_format_has_no_checksum(tmp_path: Path) -> None:
    index = save(tmp_path, 5) / "index.json"
    fields = json.loads(index.read_text(encoding="utf-8"))
    del fields["checksum"]
    index.write_text(json.dumps({**fields, "version": 1}), encoding="utf-8")
    assert open_checkpoint(index.parent).step == 5
    index.write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(CheckpointError, match="its checksum is not its own"):
        open_checkpoint(index.parent)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_neither_saved_nor_loaded(tmp_path: Path, bad: float) -> None:
    weights = {"a": np.float32([1, 2]), "b": np.float32([[bad, 0]])}
    with pytest.raises(TrainingError, match="after step 7, b holds numbers that are not finite"):
        save_checkpoint(tmp_path, 7, {"weights": weights}, {})
    assert list(tmp_path.iterdir()) == []
    path = save(tmp_path, 5)
    tensors = load_file(path / "weights.safetensors")
    next(iter(tensors.values())).flat[0] = bad
    save_file(tensors, path / "weights.safetensors")
    index = json.loads((path / "index.json").read_text(encoding="utf-8"))
    index["files"]["weights"]["sha256"] = hashlib.sha256((path / "weights.safetensors").read_bytes()).hexdigest()
    del index["checksum"]
    (path / "index.json").write_text(json.dumps({**index, "version": 1}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="not finite: the run had diverged when it was saved"):
        open_checkpoint(path).read("a.weight", Box.all_of((3, 2)))


def test_pruning_keeps_the_newest_good_one_whatever_is_beside_it(tmp_path: Path) -> None:
    """A damaged newer one does not count, and stays until the run comes to its step."""
    for step in (1, 2, 3, 9):
        save(tmp_path, step)
    (tmp_path / "step_00000009" / "weights.safetensors").write_bytes(b"damaged")
    (tmp_path / "step_00000002" / "weights.safetensors").write_bytes(b"damaged")
    prune_checkpoints(tmp_path, keep=1)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_00000003", "step_00000009"]
    assert open_checkpoint(tmp_path / "step_00000003").step == 3


def test_pruning_removes_what_killed_processes_left(tmp_path: Path) -> None:
    save(tmp_path, 1)
    for name in ("step_00000000", ".step_00000002.77_ab.part", ".writing_x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.safetensors").write_bytes(b"half")
    prune_checkpoints(tmp_path, keep=2)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]


def test_a_checkpoint_that_is_known_to_be_good_is_not_read_again(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    (path / "weights.safetensors").write_bytes(b"so that reading would fail")
    save(tmp_path, 2)
    prune_checkpoints(tmp_path, keep=2, known_good={path})
    assert len(list_checkpoints(tmp_path)) == 2


def test_another_format_is_refused(tmp_path: Path) -> None:
    index = save(tmp_path, 5) / "index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "version": 99}))
    with pytest.raises(CheckpointError, match="version 99"):
        open_checkpoint(index.parent)


def test_the_newest_good_one_is_found_and_the_damaged_one_reported(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step)
    (tmp_path / "step_00000003" / "weights.safetensors").write_bytes(b"")
    reports: list[str] = []
    checkpoint = newest_good_checkpoint(tmp_path, reports.append)
    assert checkpoint is not None
    assert checkpoint.step == 2
    assert len(reports) == 1
    assert "step_00000003" in reports[0]


def test_only_damaged_ones_is_an_error_and_none_is_not(tmp_path: Path) -> None:
    assert newest_good_checkpoint(tmp_path, print) is None
    (save(tmp_path, 1) / "weights.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="all 1 checkpoints"):
        newest_good_checkpoint(tmp_path, print)


def test_what_users_point_at(tmp_path: Path) -> None:
    path = save(tmp_path / "run" / "checkpoints", 4)
    for target in (path, tmp_path / "run", tmp_path / "run" / "checkpoints"):
        assert find_checkpoint(target, print).path == path
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        find_checkpoint(tmp_path / "elsewhere", print)


def test_pruning_keeps_the_newest_and_removes_half_written_ones(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        save(tmp_path, step)
    (tmp_path / ".writing_abc").mkdir()
    prune_checkpoints(tmp_path, keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_00000003", "step_00000004"]
    assert len(list(tmp_path.iterdir())) == 2


def test_an_existing_checkpoint_is_not_touched(tmp_path: Path) -> None:
    index = save(tmp_path, 1) / "index.json"
    before = index.stat().st_mtime_ns
    save(tmp_path, 1)
    assert index.stat().st_mtime_ns == before


def test_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="could not be written"):
        save(tmp_path / "file" / "checkpoints", 1)


@pytest.fixture
def small_files() -> Iterator[int]:
    """A limit of 64 KiB a file, which acts as a full disk does, without its signal."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield 1 << 16
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_explained_and_leaves_nothing(tmp_path: Path, small_files: int) -> None:
    save(tmp_path, 1)
    with pytest.raises(CheckpointError, match="Earlier checkpoints are untouched"):
        save_checkpoint(tmp_path, 2, {"weights": {"a": np.zeros(small_files, np.float32)}}, {})
    with pytest.raises(CheckpointError, match="Earlier checkpoints are untouched"):
        save_checkpoint(tmp_path, 2, {}, {"note": "记" * small_files})
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]
