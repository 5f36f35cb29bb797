from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pangu_alpha.checkpoint import list_checkpoints, open_checkpoint, prune

Save = Callable[..., Path]
WEIGHTS = "weights/rank_00000.safetensors"


def steps(root: Path) -> list[int]:
    return [int(path.name[5:]) for path in list_checkpoints(root)]


def test_the_newest_stay(save: Save, tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        save(step)
    prune(tmp_path, keep=2)
    assert steps(tmp_path) == [3, 4]
    assert len(list(tmp_path.iterdir())) == 2


def test_damaged_ones_do_not_count_and_newer_ones_stay_until_the_run_comes_there(save: Save, tmp_path: Path) -> None:
    for step in (1, 2, 3, 9):
        save(step)
    for step in (2, 9):
        (tmp_path / f"step_{step:08d}" / WEIGHTS).write_bytes(b"damaged")
    prune(tmp_path, keep=1)
    assert steps(tmp_path) == [3, 9]
    assert open_checkpoint(tmp_path / "step_00000003").step == 3


def test_one_that_is_known_to_be_damaged_does_not_count(save: Save, tmp_path: Path) -> None:
    """It looks whole; whoever read it has found otherwise."""
    for step in (1, 2, 9):
        save(step)
    prune(tmp_path, keep=1, damaged={tmp_path / "step_00000009"})
    assert steps(tmp_path) == [2, 9]


def test_those_to_which_the_run_has_yet_to_come_do_not_count(save: Save, tmp_path: Path) -> None:
    """It has gone on from step 3, passed over 8 and 9 because of a spike, and come to 5."""
    for step in (2, 3, 5, 8, 9):
        save(step, spike=step > 7)
    prune(tmp_path, keep=1, step=5)
    assert steps(tmp_path) == [5, 8, 9]


@pytest.mark.parametrize(("spikes", "kept"), [((3, 4), [2, 3, 4]), ((4,), [3, 4]), ((1, 2, 3, 4), [3, 4])])
def test_the_newest_healthy_one_always_stays(
    save: Save, tmp_path: Path, spikes: tuple[int, ...], kept: list[int]
) -> None:
    for step in (1, 2, 3, 4):
        save(step, spike=step in spikes)
    prune(tmp_path, keep=2)
    assert steps(tmp_path) == kept


def test_milestones_stay_if_they_are_whole(save: Save, tmp_path: Path) -> None:
    for step in (2, 4, 5, 6, 8, 9):
        save(step)
    (tmp_path / "step_00000004" / WEIGHTS).unlink()
    prune(tmp_path, keep=1, keep_every=2)
    assert steps(tmp_path) == [2, 6, 8, 9]


def test_what_is_whole_gets_its_name_back(save: Save, tmp_path: Path) -> None:
    """A process that died between taking the old one's name away and giving it to the new one."""
    for step in (1, 2):
        save(step)
    (tmp_path / "step_00000002").rename(tmp_path / ".step_00000002.a1b2.part")
    save(2, tmp_path / "other")
    (tmp_path / "other" / "step_00000002").rename(tmp_path / ".step_00000002.77_ab.part")
    shutil.rmtree(tmp_path / "other")
    prune(tmp_path, keep=2, attempt="0123")
    assert steps(tmp_path) == [1, 2]
    assert len(list(tmp_path.iterdir())) == 2


def test_what_dead_processes_left_goes_and_what_this_start_writes_stays(save: Save, tmp_path: Path) -> None:
    save(1)
    for name in ("step_00000000", ".step_00000002.77ab.part", ".step_00000003.0123.part", ".writing_x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.safetensors").write_bytes(b"half")
    prune(tmp_path, keep=2, attempt="0123")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".step_00000003.0123.part", "step_00000001"]


def test_what_is_not_a_run_s_own_is_not_touched(save: Save, tmp_path: Path) -> None:
    """A link to the best one, a copy of it, an archive, notes, and one that is just being copied back."""
    save(100)
    (tmp_path / "step_best").symlink_to("step_00000100")
    shutil.copytree(tmp_path / "step_00000100", tmp_path / "step_copy")
    (tmp_path / "step_00000100.tar").write_text("archive")
    (tmp_path / "step_notes.md").write_text("notes")
    (tmp_path / "step_00000007").mkdir()
    (tmp_path / "step_00000007" / "precious").write_text("")
    save(200)
    prune(tmp_path, keep=1)
    assert steps(tmp_path) == [200]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step_00000007", "step_00000100.tar", "step_00000200", "step_best", "step_copy", "step_notes.md",
    ]  # fmt: skip


def test_what_an_earlier_version_left_while_it_removed_an_old_one_goes(tmp_path: Path) -> None:
    (tmp_path / "step_00000001").mkdir()
    (tmp_path / "step_00000001" / "weights.safetensors").write_text("")
    prune(tmp_path, keep=1)
    assert list(tmp_path.iterdir()) == []


def test_steps_are_numbers_and_not_text(save: Save, tmp_path: Path) -> None:
    for step in (99_999_999, 100_000_000):
        save(step)
    prune(tmp_path, keep=1)
    assert steps(tmp_path) == [100_000_000]


def test_what_cannot_be_judged_stays(save: Save, tmp_path: Path) -> None:
    """Of a later version of this program, say."""
    for step in (2, 4, 6):
        save(step)
    index = tmp_path / "step_00000002" / "index.json"
    index.write_text(index.read_text().replace('"version":3', '"version":4'))
    prune(tmp_path, keep=1, keep_every=2)
    assert steps(tmp_path) == [2, 4, 6]
    prune(tmp_path, keep=1)
    assert steps(tmp_path) == [2, 6]
