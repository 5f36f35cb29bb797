"""The parts of ranks that have no process."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from pangu_alpha.checkpoint import Save, commit, open_checkpoint, save_part
from pangu_alpha.config import RunConfig, load_config
from pangu_alpha.errors import CheckpointError
from pangu_alpha.parallel.parameters import row_of, tensor_names
from pangu_alpha.parallel.parts import Box, owned_boxes
from pangu_alpha.parallel.start import starting_values
from pangu_alpha.rehearsal import absent
from pangu_alpha.rehearsal.absent import AbsentRanks


@pytest.fixture
def config() -> RunConfig:
    model = "num_layers: 4, hidden_size: 16, num_heads: 4, vocab_size: 33, seq_length: 8"
    mesh = ("parallel.dp=2", "parallel.mp=2", "parallel.pp=2", "parallel.optimizer_sharding=true")
    settings = ["device=ascend", "model.final_norm=after_query_layer", "train.num_micro_batches=2", *mesh]
    return load_config("tiny_cpu", [f"model={{{model}}}", *settings])


def test_a_checkpoint_of_one_rank_of_eight_is_whole(config: RunConfig, tmp_path: Path) -> None:
    read = starting_values(config)
    save = Save(tmp_path, 3, "a0")
    with AbsentRanks(tmp_path, config, [5]):
        mine = owned_boxes(config.model, config.parallel, 5)
        save_part(save, 5, mine, lambda boxes: (read(name, box) for name, box in boxes.items()))
        shapes = {name: row_of(name).shape(config.model) for name in tensor_names(config.model)}
        path = commit(save, 8, shapes, {}, None, lambda: 30.0)
    found = open_checkpoint(path)
    for name, box in mine.items():
        np.testing.assert_array_equal(found.read(name, box), read(name, box))
    assert sum(found.check_contents())
    other = next(name for name in owned_boxes(config.model, config.parallel, 0))
    assert not found.read(other, owned_boxes(config.model, config.parallel, 0)[other]).any()
    assert found.read(other, Box.all_of(shapes[other])).shape == shapes[other]


def test_what_an_earlier_start_has_left_is_not_completed(config: RunConfig, tmp_path: Path) -> None:
    left = Save(tmp_path, 1, "dead")
    left.folder.mkdir(parents=True)
    with AbsentRanks(tmp_path, config, [5]), pytest.raises(CheckpointError, match="8 of 8 ranks have not written"):
        commit(left, 8, {}, {}, None, lambda: 0.5)


def test_its_error_is_told(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise CheckpointError("no space left")

    monkeypatch.setattr(absent, "save_part", full)
    gave_up = threading.Event()
    with pytest.raises(CheckpointError, match="no space left"), AbsentRanks(tmp_path, config, [0], gave_up.set):
        Save(tmp_path, 1, "a").folder.mkdir(parents=True)
        assert gave_up.wait(20)
