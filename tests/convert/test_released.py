"""The released form beside MindSpore's own reader, the real strategy files, and planted faults."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pangu_alpha.config import MODEL_PRESETS, ModelConfig, ParallelConfig
from pangu_alpha.convert import DIALECTS, Weights, open_source, weights_of, write_dialect
from pangu_alpha.convert.mindspore_file import append_tensor, read_ckpt
from pangu_alpha.convert.released import layouts_of
from pangu_alpha.convert.strategy import Layout, read_strategy, write_strategy
from pangu_alpha.errors import CheckpointError, DamagedError

LAYOUT = ParallelConfig(dp=2, mp=4, optimizer_sharding=True)
EXPAND, CONTRACT = "backbone.blocks.0.output.mapping.weight", "backbone.blocks.1.output.projection.weight"


@pytest.fixture(scope="module")
def shared(weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("released") / "weights"
    write_dialect(path, "released", weights, LAYOUT, "float32", lambda amount: None)
    return path


@pytest.fixture
def folder(shared: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(shared, tmp_path / "weights"))


@pytest.fixture(scope="module")
def mindspore() -> Iterator[ModuleType]:
    os.environ.setdefault("GLOG_v", "3")
    import mindspore as ms

    yield ms


def found_in(folder: Path, strategy: Path | None = None, *overrides: str) -> Weights:
    source = open_source(folder, "released", strategy)
    return weights_of(source, ["model.num_heads=4", *overrides])[1]


def rewritten(path: Path, change: Callable[[dict[str, NDArray[np.float32]]], Any]) -> None:
    """The same file after `change` of its tensors."""
    tensors = {name: stored.read() for name, stored in read_ckpt(path).items()}
    change(tensors)
    path.unlink()
    for name, values in tensors.items():
        append_tensor(path, name, values, "float32")


# Beside MindSpore.


def test_mindspore_reads_what_is_written_here(shared: Path, mindspore: ModuleType) -> None:
    theirs = mindspore.load_checkpoint(str(shared / "filerted_5.ckpt"))
    ours = read_ckpt(shared / "filerted_5.ckpt")
    assert list(theirs) == list(ours) and len(ours) == 3 * 16 + 2
    assert all(np.array_equal(value.asnumpy(), ours[name].read()) for name, value in theirs.items())


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
def test_what_mindspore_writes_is_read_here(tmp_path: Path, mindspore: ModuleType, kind: str) -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4) / 8
    tensors = {"a.weight": values, "a.bias": values[0]}
    saved = [
        {"name": name, "data": mindspore.Tensor(value, getattr(mindspore, kind))} for name, value in tensors.items()
    ]
    counter = {"name": "global_step", "data": mindspore.Tensor(7, mindspore.int32)}
    mindspore.save_checkpoint([*saved, counter], str(tmp_path / "one.ckpt"))
    found = read_ckpt(tmp_path / "one.ckpt")
    assert {name: item.kind for name, item in found.items()} == dict.fromkeys(tensors, kind)
    assert all(np.array_equal(found[name].read(), value) for name, value in tensors.items())
    assert np.array_equal(found["a.weight"].read(1, 3), values[1:])


def test_a_tensor_that_mindspore_cuts_is_put_together(
    tmp_path: Path, mindspore: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mindspore.train import serialization

    monkeypatch.setattr(serialization, "SLICE_SIZE", 1)  # KiB, and not 512 MiB
    values = np.arange(1500, dtype=np.float32).reshape(300, 5)
    mindspore.save_checkpoint([{"name": "w", "data": mindspore.Tensor(values)}], str(tmp_path / "one.ckpt"))
    (found,) = read_ckpt(tmp_path / "one.ckpt").values()
    assert len(found.spans) > 2
    assert np.array_equal(found.read(), values) and np.array_equal(found.read(40, 190), values[40:190])


def test_mindspore_puts_the_slices_in_the_same_order(
    shared: Path, tensors: dict[str, NDArray[np.float32]], tmp_path: Path, mindspore: ModuleType
) -> None:
    """`transform_checkpoints` is how MindFormers read the release."""
    for rank in range(8):
        (tmp_path / "in" / f"rank_{rank}").mkdir(parents=True)
        shutil.copy(shared / f"filerted_{rank}.ckpt", tmp_path / "in" / f"rank_{rank}")
    mindspore.transform_checkpoints(
        str(tmp_path / "in"), str(tmp_path / "out"), "whole", str(shared / "strategy.ckpt"), None
    )
    theirs = mindspore.load_checkpoint(str(tmp_path / "out" / "rank_0" / "whole0.ckpt"))
    ours = open_source(shared, "released").tensors
    assert set(theirs) == set(ours) - set(DIALECTS["released"].tables)
    for name, value in theirs.items():
        assert np.array_equal(value.asnumpy(), ours[name].read()), name


@pytest.mark.parametrize(
    ("name", "preset"),
    [("pangu_alpha_2.6B_ckpt_strategy.ckpt", "2b6"), ("pangu_alpha_13B_cktp_strategy.ckpt", "13b")],
)
def test_the_real_strategy_files_cut_as_here(shared_data: Path, name: str, preset: str) -> None:
    found = read_strategy(shared_data / name)
    model = ModelConfig(**MODEL_PRESETS[preset])
    ours = layouts_of(model, ParallelConfig(dp=64, mp=8, optimizer_sharding=True))
    assert {name for name in found if not name.startswith("adam_")} == set(ours)
    assert {name: found[name] for name in ours} == ours
    # Every element of a matrix that both axes cut is in just one slice.
    layout, shape = found[EXPAND], (model.hidden_size, model.feed_forward_size)
    seen = np.zeros((64, 8), int)
    for rank in range(512):
        box = layout.box(rank, shape)
        seen[box.begin[0] * 64 // shape[0], box.begin[1] * 8 // shape[1]] += 1
    assert (seen == 1).all()


# The order is that of the strategy file.


def test_ranks_in_another_order(
    weights: Weights, require_equal: Callable[[Weights], None], shared: Path, tmp_path: Path
) -> None:
    """A matrix of (mp, dp) devices: rank 1 is the next replica, and not the next slice."""
    layouts = read_strategy(shared / "strategy.ckpt")
    turned = {
        name: Layout((4, 2), tuple(axis if axis < 0 else 1 for axis in item.tensor_map), min(item.step, 1), item.size)
        for name, item in layouts.items()
    }
    other = tmp_path / "turned"
    shutil.copytree(shared, other)
    write_strategy(other / "strategy.ckpt", turned)
    for rank in range(8):  # rank = replica · 4 + slice there, slice · 2 + replica here
        shutil.copy(shared / f"filerted_{rank}.ckpt", other / f"filerted_{rank % 4 * 2 + rank // 4}.ckpt")
    require_equal(found_in(other))
    with pytest.raises(AssertionError):
        require_equal(found_in(shared, other / "strategy.ckpt"))


def test_swapped_files_give_other_weights(folder: Path, require_equal: Callable[[Weights], None]) -> None:
    """No file says of which rank it is: this cannot be refused, but what compares must see it."""
    (folder / "filerted_1.ckpt").rename(folder / "aside")
    (folder / "filerted_2.ckpt").rename(folder / "filerted_1.ckpt")
    (folder / "aside").rename(folder / "filerted_2.ckpt")
    with pytest.raises(AssertionError):
        require_equal(found_in(folder))


# What is left out.


def test_moments_and_counters_are_left_out(folder: Path, require_equal: Callable[[Weights], None]) -> None:
    for rank in range(8):
        values = np.zeros((2, 4), np.float32)
        append_tensor(folder / f"filerted_{rank}.ckpt", f"adam_m.{EXPAND}", values, "float32")
        append_tensor(folder / f"filerted_{rank}.ckpt", "loss_scale", values[0], "float32")
    source = open_source(folder, "released")
    assert source.left_out == (f"adam_m.{EXPAND}", "loss_scale")
    require_equal(weights_of(source, ["model.num_heads=4"])[1])


# Planted faults.


def _without(name: str) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        for rank in range(8):
            rewritten(folder / f"filerted_{rank}.ckpt", lambda tensors: tensors.pop(name))

    return plant


def _unknown(folder: Path) -> None:
    layouts = read_strategy(folder / "strategy.ckpt")
    write_strategy(folder / "strategy.ckpt", {**layouts, "backbone.extra": Layout((2, 4), (-1,))})
    for rank in range(8):
        append_tensor(folder / f"filerted_{rank}.ckpt", "backbone.extra", np.ones(3, np.float32), "float32")


def _unknown_to_the_strategy(folder: Path) -> None:
    append_tensor(folder / "filerted_2.ckpt", "backbone.extra", np.ones(3, np.float32), "float32")


def _narrow(folder: Path) -> None:
    def change(tensors: dict[str, NDArray[np.float32]]) -> None:
        tensors[CONTRACT] = tensors[CONTRACT][:, :15].copy()

    for rank in range(8):
        rewritten(folder / f"filerted_{rank}.ckpt", change)


def _one_of_another_shape(folder: Path) -> None:
    rewritten(folder / "filerted_6.ckpt", lambda tensors: tensors.update({CONTRACT: tensors[CONTRACT][:1]}))


def _cut_off(folder: Path) -> None:
    path = folder / "filerted_3.ckpt"
    path.write_bytes(path.read_bytes()[:-7])


def _short_table(folder: Path) -> None:
    path = folder / "position_embedding.npy"
    path.write_bytes(path.read_bytes()[:-4])


def _damaged_strategy(folder: Path) -> None:
    path = folder / "strategy.ckpt"
    path.write_bytes(path.read_bytes()[:-3])


def _overlapping_strategy(folder: Path) -> None:
    layouts = read_strategy(folder / "strategy.ckpt")
    write_strategy(folder / "strategy.ckpt", {**layouts, EXPAND: Layout((2, 4), (-1, 0), 1, 2)})


FAULTS: list[tuple[Callable[[Path], Any], type[CheckpointError], str]] = [
    (_without(EXPAND), CheckpointError, f"it lacks {EXPAND}"),
    (_unknown, CheckpointError, "not used: backbone.extra"),
    (_unknown_to_the_strategy, CheckpointError, "holds backbone.extra, of which the strategy file says nothing"),
    (_narrow, CheckpointError, rf"of another shape: {CONTRACT} \[64, 15\], in this network \[64, 16\]"),
    (
        _one_of_another_shape,
        CheckpointError,
        rf"{CONTRACT} is \[1, 16\] in filerted_6.ckpt and \[8, 16\]",
    ),
    (_cut_off, DamagedError, r"filerted_3.ckpt is damaged, or not a .ckpt file of MindSpore: it is cut off"),
    (_short_table, DamagedError, r"position_embedding.npy is cut off: \d+ bytes, and it should have \d+"),
    (_damaged_strategy, DamagedError, r"strategy.ckpt is damaged, or not a strategy file of MindSpore: it is cut off"),
    (_overlapping_strategy, DamagedError, f"the parts of {EXPAND} do not make it up"),
    (lambda folder: (folder / "filerted_4.ckpt").unlink(), CheckpointError, r"slices of rank \[4\] are missing"),
    (lambda folder: (folder / "strategy.ckpt").unlink(), CheckpointError, "name the strategy file with --strategy"),
    (lambda folder: (folder / "word_embedding.npy").unlink(), CheckpointError, r"has 0 files \*word_embedding.npy"),
    (lambda folder: (folder / "other_0.ckpt").touch(), CheckpointError, "slices of 2 series: filerted, other"),
]


@pytest.mark.parametrize(("plant", "error", "said"), FAULTS, ids=[said[:40] for _, _, said in FAULTS])
def test_planted_faults(folder: Path, plant: Callable[[Path], Any], error: type[CheckpointError], said: str) -> None:
    plant(folder)
    with pytest.raises(error, match=said):
        found_in(folder)
