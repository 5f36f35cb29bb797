from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.cluster.preflight import disk
from pangu_alpha.cluster.preflight.disk import check_disk
from pangu_alpha.parallel.parameters import num_parameters


def _free(monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
    usage = type("Usage", (), {"free": num_bytes})
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _path: usage)


def test_what_is_needed_is_computed_from_the_recipe(recipe: Any, tmp_path: Path, monkeypatch: Any) -> None:
    config = recipe(f"output={tmp_path / 'new' / 'run'}", "train.keep_checkpoints=3")
    needed = 4 * 12 * num_parameters(config.model)
    _free(monkeypatch, needed)
    assert [finding.state for finding in check_disk(config)] == ["ok"]
    _free(monkeypatch, needed - 1)
    (finding,) = check_disk(config)
    assert finding.state == "bad"
    assert "4 checkpoints" in finding.found
    assert "keep_checkpoints" in finding.fix


def test_milestones_stay_and_need_room(recipe: Any, tmp_path: Path, monkeypatch: Any) -> None:
    settings = ("train.keep_checkpoints=1", "train.steps=1000", "train.checkpoint_every=100", "train.keep_every=250")
    config = recipe(f"output={tmp_path}", *settings)
    _free(monkeypatch, 0)
    (finding,) = check_disk(config)
    assert "4 checkpoints" in finding.found  # 500 and 1000, the newest, and the one that is being written
    assert "keep_every" in finding.fix


def test_checkpoints_that_are_there_need_no_more_room(recipe: Any, tmp_path: Path, monkeypatch: Any) -> None:
    config = recipe(f"output={tmp_path}", "train.keep_checkpoints=1")
    one = 12 * num_parameters(config.model)
    present = tmp_path / "checkpoints" / "step_00000001" / "optimizer.safetensors"
    present.parent.mkdir(parents=True)
    with present.open("wb") as file:
        file.truncate(one)
    _free(monkeypatch, one)
    assert check_disk(config)[0].state == "ok"
    _free(monkeypatch, one - 1)
    assert check_disk(config)[0].state == "bad"


def test_an_output_that_is_a_file_or_below_one(recipe: Any, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("话说天下大势")
    for output in (file, file / "run"):
        (finding,) = check_disk(recipe(f"output={output}"))
        assert finding.state == "bad"
        assert "cannot be written" in finding.found
