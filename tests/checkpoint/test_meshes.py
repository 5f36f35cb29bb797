"""Every mesh writes, and any other reads exactly what was written, each rank its own parts."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pangu_alpha.checkpoint import Checkpoint, Save, commit, open_checkpoint, save_part
from pangu_alpha.config import ModelConfig, ParallelConfig, list_recipes, load_config
from pangu_alpha.parallel.parameters import MOMENTS, row_of, tensor_names
from pangu_alpha.parallel.parts import held_parts, owned_boxes, without_padding

Tensors = dict[str, NDArray[np.float32]]


def model(vocab_size: int, num_layers: int) -> ModelConfig:
    sizes = f"num_layers: {num_layers}, hidden_size: 16, num_heads: 8, vocab_size: {vocab_size}, seq_length: 6"
    return load_config("tiny_cpu", [f"model={{{sizes}}}", "model.final_norm=before_query_layer"]).model


@cache
def tensors(config: ModelConfig) -> Tensors:
    rng = np.random.default_rng(1)
    return {name: rng.standard_normal(row_of(name).shape(config)).astype(np.float32) for name in tensor_names(config)}


def write(root: Path, step: int, config: ModelConfig, parallel: ParallelConfig, whole: Tensors) -> Checkpoint:
    save = Save(root, step, "a")
    for rank in range(parallel.num_devices):
        boxes = owned_boxes(config, parallel, rank)
        save_part(save, rank, boxes, lambda mine: (whole[name][box.index] for name, box in mine.items()))
    shapes = {name: value.shape for name, value in whole.items()}
    return open_checkpoint(commit(save, parallel.num_devices, shapes, {}, patience=lambda: 1.0))


def read(checkpoint: Checkpoint, config: ModelConfig, parallel: ParallelConfig) -> Tensors:
    """The whole tensors of what all ranks read; they must agree where they hold the same."""
    whole = {name: np.full(row_of(name).shape(config), np.nan, np.float32) for name in tensor_names(config)}
    for rank in range(parallel.num_devices):
        for base, held in held_parts(config, parallel, rank).items():
            for name in (base, *(prefix + base for prefix in MOMENTS)):
                box = without_padding(name, held, config)
                if box.num_elements:
                    values, place = checkpoint.read(name, box), whole[name][box.index]
                    assert np.all(np.isnan(place) | (place == values)), name
                    whole[name][box.index] = values
        checkpoint.close()
    return whole


@st.composite
def meshes(draw: st.DrawFn, max_pp: int) -> ParallelConfig:
    pp = draw(st.sampled_from([size for size in (1, 2, 4) if size <= max_pp]))
    interleaved = draw(st.booleans()) and 2 * pp <= max_pp and pp > 1
    return ParallelConfig(
        dp=draw(st.sampled_from([1, 2, 3, 4, 8])),
        mp=draw(st.sampled_from([1, 2, 4, 8])),
        pp=pp,
        optimizer_sharding=draw(st.booleans()),
        schedule="interleaved" if interleaved else "1f1b",
        num_chunks=2 if interleaved else 1,
    )


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_mesh_to_any_other_and_once_more(data: st.DataObject) -> None:
    config = model(data.draw(st.integers(2, 70)), num_layers=data.draw(st.integers(2, 5)))
    first, second = (data.draw(meshes(config.num_layers)) for _ in range(2))
    assume(first.num_devices * second.num_devices <= 256)
    with TemporaryDirectory() as folder:
        found = read(write(Path(folder), 1, config, first, tensors(config)), config, second)
        again = read(write(Path(folder), 2, config, second, found), config, first)
    for name, value in tensors(config).items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)


@pytest.mark.parametrize("recipe", list_recipes())
def test_ranks_of_the_recipes_write_every_element_once(recipe: str) -> None:
    config = load_config(recipe)
    if config.parallel.pp == 1:
        config = load_config(recipe, ["model.num_layers=3"])  # the others are alike
    num_stage_ranks = config.parallel.dp * config.parallel.mp
    sizes = dict.fromkeys(tensor_names(config.model), 0)
    written: list[int] = []
    largest = 0
    for rank in range(num_stage_ranks):
        boxes = owned_boxes(config.model, config.parallel, rank)
        for name, box in boxes.items():
            sizes[name] += box.num_elements
            largest = max(largest, box.num_elements)
        written.append(sum(box.num_elements for box in boxes.values()))
    whole = {name: math.prod(row_of(name).shape(config.model)) for name in sizes}
    held = {name: size for name, size in sizes.items() if size}
    assert held == {name: whole[name] for name in held}
    assert len(held) == len(whole) or config.parallel.pp > 1
    assert max(written) - min(written) <= 3 * largest, "a rank has much more to write than the others"
