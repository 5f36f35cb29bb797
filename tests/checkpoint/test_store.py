from __future__ import annotations

import errno
import json
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pangu_alpha.checkpoint import (
    Checkpoint,
    candidates,
    commit,
    list_checkpoints,
    load_from,
    open_checkpoint,
    save_part,
    slice_file,
)
from pangu_alpha.checkpoint import Save as Writing
from pangu_alpha.checkpoint.index import checksum_of
from pangu_alpha.errors import CheckpointError, DamagedError
from pangu_alpha.parallel.parts import Box

Save = Callable[..., Path]
WEIGHTS = "weights/rank_00000.safetensors"
SHAPES = {"a.weight": (3, 2), "b": (1,), "adam_m.b": (1,)}


def read_all(checkpoint: Checkpoint) -> int:
    for name, cells in checkpoint.index.tensors.items():
        checkpoint.read(name, Box.all_of(cells.shape))
    return checkpoint.step


def flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


def test_round_trip(save: Save) -> None:
    checkpoint = open_checkpoint(save(5, note="记"))
    assert (checkpoint.step, checkpoint.state) == (5, {"note": "记"})
    assert checkpoint.health is not None and checkpoint.health.loss == 3.5
    checkpoint.require(SHAPES)
    np.testing.assert_array_equal(checkpoint.read("a.weight", Box.all_of((3, 2))), np.full((3, 2), 5, np.float32))
    assert checkpoint.read("a.weight", Box((1, 1), (2, 1))).tolist() == [[5], [5]]
    assert checkpoint.read("adam_m.b", Box.all_of((1,))).tolist() == [7]
    assert sum(checkpoint.check_contents()) == 4 * (6 + 1 + 1)
    assert checkpoint.num_bytes == sum(path.stat().st_size for path in checkpoint.path.glob("*/*"))


@pytest.mark.parametrize("name", [WEIGHTS, "optimizer/rank_00000.safetensors", "index.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_any_damage_is_named(save: Save, name: str, damage: str) -> None:
    file = save(5) / name
    content = file.read_bytes()
    if damage == "flip":
        flip(file, len(content) // 2)
    elif damage == "truncate":
        file.write_bytes(content[: len(content) // 2])
    else:
        file.unlink()
    folder = file.parent if name == "index.json" else file.parents[1]
    with pytest.raises(DamagedError, match=r"step_00000005"):
        read_all(open_checkpoint(folder))


@pytest.mark.parametrize(("before", "after"), [('"step":5', '"step":4'), ("记", "计"), ("[[", "[ [ ")])
def test_an_index_that_was_changed_is_damaged(save: Save, before: str, after: str) -> None:
    """Its own checksum covers what it says of the run: 40 instead of 48 samples would train on other data."""
    index = save(5, note="记") / "index.json"
    text = index.read_text(encoding="utf-8")
    assert before in text
    index.write_text(text.replace(before, after, 1), encoding="utf-8")
    if before == "[[":
        assert open_checkpoint(index.parent).step == 5  # spaces say nothing
        return
    with pytest.raises(DamagedError, match=r"index\.json is damaged: its checksum is not its own"):
        open_checkpoint(index.parent)


def test_what_is_not_of_this_network_is_listed(save: Save) -> None:
    checkpoint = open_checkpoint(save(5))
    wanted = {"a.weight": (3, 4), "adam_m.b": (1,), "c": (2,)}
    with pytest.raises(CheckpointError) as caught:
        checkpoint.require(wanted)
    for words in ("it lacks c", "the settings know nothing of b", "a.weight [3, 2], in the settings [3, 4]"):
        assert words in str(caught.value)
    with pytest.raises(CheckpointError, match=r"it lacks adam_m\.a\.weight"):  # a moment is as strict as a weight
        checkpoint.require({**SHAPES, "adam_m.a.weight": (3, 2)})
    checkpoint.require({"a.weight": (3, 2), "b": (1,)}, weights_only=True)


@pytest.mark.parametrize("version", [1, 2])
def test_earlier_formats_are_read(save_old: Save, version: int) -> None:
    checkpoint = open_checkpoint(save_old(5, version))
    assert (checkpoint.step, checkpoint.state, checkpoint.health) == (5, {"note": "记"}, None)
    checkpoint.require({"a.weight": (3, 2), "adam_m.b": (1,)})
    assert checkpoint.read("a.weight", Box((1, 1), (2, 1))).tolist() == [[5], [5]]
    assert bool(checkpoint.index.checksum) == (version == 2)


@pytest.mark.parametrize("name", ["weights.safetensors", "index.json"])
def test_damage_to_earlier_formats_is_found_at_once(save_old: Save, name: str) -> None:
    folder = save_old(5)
    flip(folder / name, (folder / name).stat().st_size // 2)
    with pytest.raises(DamagedError, match="damaged"):
        open_checkpoint(folder)


def test_that_an_index_cannot_be_checked_is_said(save_old: Save, tmp_path: Path) -> None:
    path = save_old(5, 1)
    for place in (tmp_path, path):
        reports: list[str] = []
        assert load_from(place, read_all, reports.append) == 5
        assert len(reports) == 1 and "has no checksum of itself" in reports[0]


def test_numbers_that_are_not_finite_are_not_loaded(save_old: Save, save: Save, tmp_path: Path) -> None:
    """As a version before this one saved them: the checkpoint before is taken."""
    save(4)
    save_old(5, tensors={"a.weight": np.float32([[1, np.nan]])})
    with pytest.raises(DamagedError, match="not finite: the run had diverged when it was saved"):
        read_all(open_checkpoint(tmp_path / "step_00000005"))
    assert load_from(tmp_path, read_all, lambda line: None) == 4


def test_another_format_is_refused(save: Save) -> None:
    index = save(5) / "index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "version": 99}))
    with pytest.raises(CheckpointError, match="version 99"):
        open_checkpoint(index.parent)


@pytest.mark.parametrize("files", [["../x"], ["/etc/passwd"], []])
def test_an_index_cannot_lead_out_of_its_folder_or_into_nothing(save: Save, files: list[str]) -> None:
    index = save(5) / "index.json"
    fields = json.loads(index.read_text(encoding="utf-8"))
    del fields["checksum"]
    fields["files"] = [[name, 1, "0"] for name in files]
    index.write_text(json.dumps({**fields, "checksum": checksum_of(fields)}), encoding="utf-8")
    with pytest.raises(DamagedError, match="is damaged"):
        open_checkpoint(index.parent)


def test_a_file_that_cannot_be_read_is_damage(save: Save, tmp_path: Path) -> None:
    for step in (1, 2):
        save(step)
    weights = tmp_path / "step_00000002" / WEIGHTS
    weights.unlink()
    weights.symlink_to("/proc/self/mem")  # reading it fails as on a bad disk
    reports: list[str] = []
    assert load_from(tmp_path, read_all, reports.append) == 1
    assert "step_00000002" in reports[0]


def test_the_newest_that_can_be_read_to_the_end_is_loaded_and_the_others_reported(save: Save, tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(step)
    (tmp_path / "step_00000003" / WEIGHTS).write_bytes(b"")
    flip(tmp_path / "step_00000002" / WEIGHTS)  # of the right length: found when it is read
    reports: list[str] = []
    assert load_from(tmp_path, read_all, reports.append) == 1
    assert [line[:22] for line in reports] == ["skipping a checkpoint:"] * 2
    assert "step_00000003" in reports[0] and "step_00000002" in reports[1]


def test_a_spike_is_passed_over_and_used_if_there_is_nothing_else(save: Save, tmp_path: Path) -> None:
    save(1)
    save(2, spike=True)
    reports: list[str] = []
    assert [found.step for found in candidates(tmp_path, reports.append)] == [1, 2]
    assert "step_00000002: it was saved during a spike (loss 3.500, gradient norm 1.25)" in reports[0]
    shutil.rmtree(tmp_path / "step_00000001")
    assert load_from(tmp_path, read_all, reports.append) == 2


def test_only_damaged_ones_is_an_error_and_none_is_not(save: Save, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_from(tmp_path, read_all, print)
    flip(save(1) / WEIGHTS)
    with pytest.raises(CheckpointError, match="all 1 checkpoints"):
        load_from(tmp_path, read_all, print)


def test_what_users_point_at(save: Save, tmp_path: Path) -> None:
    path = save(4, tmp_path / "run" / "checkpoints")
    for target in (path, tmp_path / "run", tmp_path / "run" / "checkpoints"):
        assert load_from(target, lambda found: found.path, print) == path
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_from(tmp_path / "elsewhere", read_all, print)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="file cannot be read: Not a directory"):
        load_from(tmp_path / "file", read_all, print)


def test_folders_without_an_index_are_none(save: Save, tmp_path: Path) -> None:
    save(1)
    (tmp_path / "step_00000002").mkdir()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_00000001"]


def test_a_folder_with_another_checkpoint_s_name_is_not_taken(save: Save, tmp_path: Path) -> None:
    save(1)
    save(2).rename(tmp_path / "step_00000900")
    (tmp_path / "step_best").symlink_to("step_00000001")
    reports: list[str] = []
    assert load_from(tmp_path, read_all, reports.append) == 1
    assert "holds step 2: the folder has another checkpoint's name" in reports[0]


@pytest.mark.parametrize("shape", [[6, 2], [3, 1], [2, 2], [6], [3, 2, 1], [3.0, 2], ["x"], [], [-3, 2], [0, 2]])
def test_an_index_that_does_not_fit_its_file_is_damage(save_old: Save, shape: list[Any]) -> None:
    """Of the first format, whose index nothing seals."""
    path = save_old(5, 1)
    fields = json.loads((path / "index.json").read_text())
    fields["files"]["weights"]["tensors"]["a.weight"] = shape
    (path / "index.json").write_text(json.dumps(fields))
    with pytest.raises(DamagedError, match="damaged"):
        read_all(open_checkpoint(path))


@pytest.mark.parametrize("change", [{"step": "5"}, {"step": None}, {"step": True}, {"state": []}, {"state": None}])
@pytest.mark.parametrize("version", [1, 3])
def test_an_index_of_odd_types_is_damage(save: Save, save_old: Save, version: int, change: dict[str, Any]) -> None:
    path = save(5) if version == 3 else save_old(5, 1)
    fields = {**json.loads((path / "index.json").read_text()), **change}
    fields.pop("checksum", None)
    if version == 3:
        fields["checksum"] = checksum_of(fields)
    (path / "index.json").write_text(json.dumps(fields))
    with pytest.raises(DamagedError, match="is damaged"):
        open_checkpoint(path)


def test_what_the_state_does_not_say_is_named(save: Save) -> None:
    with pytest.raises(DamagedError, match="says nothing of the run's config"):
        open_checkpoint(save(5)).of_run("config")


@pytest.fixture
def few_open_files() -> Iterator[None]:
    """As if a checkpoint had more writers than a process may have files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 75, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("few_open_files")
def test_more_writers_than_a_process_may_have_files(tmp_path: Path) -> None:
    job = Writing(tmp_path, 7, "a")
    for rank in range(100):
        box = Box((rank,), (1,))
        save_part(job, rank, {"a": box}, lambda boxes: [np.float32([box.begin[0]]) for box in boxes.values()])
    checkpoint = open_checkpoint(commit(job, 100, {"a": (100,)}, {}))
    assert checkpoint.read("a", Box.all_of((100,))).tolist() == list(range(100))


def test_that_this_process_cannot_read_is_not_called_damage(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = open_checkpoint(save(5))

    def refuse(path: Path) -> None:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr(slice_file, "open_file", refuse)
    with pytest.raises(CheckpointError, match=r"Too many open files\. Nothing says that it is damaged") as caught:
        read_all(checkpoint)
    assert not isinstance(caught.value, DamagedError)
