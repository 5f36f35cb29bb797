"""Weights that a run starts from: which fit, and what is taken over. No MindSpore."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pangu_alpha.checkpoint import save_whole
from pangu_alpha.config import RunConfig
from pangu_alpha.errors import CheckpointError, PanguError
from pangu_alpha.parallel.parameters import MOMENTS, parameter_names, row_of, tensor_names
from pangu_alpha.parallel.parts import Box
from pangu_alpha.training.starting import load_weights

Tensors = dict[str, NDArray[np.float32]]


class Held:
    """What a rank holds: it asks for the lower half of each tensor."""

    def __init__(self, config: RunConfig) -> None:
        self.shapes = {name: row_of(name).shape(config.model) for name in tensor_names(config.model)}
        self.tensors: Tensors = {}

    def load(self, read: Callable[[str, Box], Any]) -> None:
        for name, shape in self.shapes.items():
            half = shape[0] // 2
            self.tensors[name] = read(name, Box((half, *(0 for _ in shape[1:])), (shape[0] - half, *shape[1:])))


def started(path: Path, config: RunConfig, tokenizer: str = "ours", is_equal: bool = True) -> Held:
    held, workers = Held(config), SimpleNamespace(is_equal=lambda text: is_equal)
    load_weights(path, held.load, workers, config.model, tokenizer)
    return held


def saved(folder: Path, config: RunConfig, names: tuple[str, ...], **state: object) -> tuple[Path, Tensors]:
    rng = np.random.default_rng(3)
    tensors = {name: rng.standard_normal(row_of(name).shape(config.model)).astype(np.float32) for name in names}
    whole = {"config": config.model_dump(mode="json"), "tokenizer_fingerprint": "ours", **state}
    return save_whole(folder, 7, tensors, whole), tensors


@pytest.mark.parametrize("names", [parameter_names, tensor_names])
def test_the_weights_and_moments_of_0(
    make_config: Callable[..., RunConfig], tmp_path: Path, names: Callable[..., tuple[str, ...]]
) -> None:
    """Also where the checkpoint is one of a run and has moments; of the run nothing else matters."""
    config = make_config()
    path, tensors = saved(tmp_path, config, names(config.model))
    held = started(path, make_config("optimizer.kind=adamw", "model.dropout=0.3", "train.batch_size=16"))
    for name, values in held.tensors.items():
        if name.startswith(MOMENTS):
            assert not values.any()
        else:
            assert np.array_equal(values, tensors[name][len(tensors[name]) // 2 :]), name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("model.gelu=erf", "model.gelu is tanh there and erf in the settings"),
        ("model.num_heads=4", "model.num_heads is 2 there and 4 in the settings"),
        ("model.final_norm=before_query_layer", "model.final_norm is after_query_layer there and before_query_layer"),
        ("model.seq_length=16", r"model.seq_length is \d+ there and 16 in the settings"),
    ],
)
def test_another_network(make_config: Callable[..., RunConfig], tmp_path: Path, change: str, said: str) -> None:
    path, _ = saved(tmp_path, make_config(), parameter_names(make_config().model))
    with pytest.raises(CheckpointError, match=f"holds the weights of another network: {said}"):
        started(path, make_config(change))


def test_weights_that_lack_one(make_config: Callable[..., RunConfig], tmp_path: Path) -> None:
    path, _ = saved(tmp_path, make_config(), parameter_names(make_config().model)[1:])
    with pytest.raises(CheckpointError, match=r"it lacks embedding\.word\.table"):
        started(path, make_config())


def test_tokenizers(make_config: Callable[..., RunConfig], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = make_config()
    path, _ = saved(tmp_path / "known", config, parameter_names(config.model))
    with pytest.raises(PanguError, match=r"the training data is made with the tokenizer other, .* belongs to ours"):
        started(path, config, "other")
    path, _ = saved(tmp_path / "unknown", config, parameter_names(config.model), tokenizer_fingerprint=None)
    started(path, config, "other")
    assert re.search(r"does not say to which tokenizer its weights belong", capsys.readouterr().err)


def test_ranks_that_see_others(make_config: Callable[..., RunConfig], tmp_path: Path) -> None:
    path, _ = saved(tmp_path, make_config(), parameter_names(make_config().model))
    with pytest.raises(CheckpointError, match="the ranks of this job do not see the same weights"):
        started(path, make_config(), is_equal=False)
