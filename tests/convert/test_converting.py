"""There and back in every dialect, to the bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pangu_alpha.checkpoint import checkpoints_at, open_checkpoint, save_whole
from pangu_alpha.config import ModelConfig, ParallelConfig
from pangu_alpha.convert import (
    DIALECTS,
    Weights,
    detect,
    open_source,
    total_bytes,
    weights_of,
    weights_of_checkpoint,
    write_checkpoint,
    write_dialect,
)
from pangu_alpha.convert.stored import Kind
from pangu_alpha.errors import CheckpointError, ConfigError, PanguError
from pangu_alpha.parallel.parameters import parameter_names

Tensors = dict[str, NDArray[np.float32]]
HEADS = ["model.num_heads=4"]
LAYOUTS = [
    ("released", ParallelConfig()),
    ("released", ParallelConfig(dp=2, mp=4, optimizer_sharding=True)),
    ("released", ParallelConfig(dp=2, mp=2)),
    ("huggingface-imone", ParallelConfig()),
    ("huggingface-sunzeyeah", ParallelConfig()),
    ("megatron", ParallelConfig()),
    ("megatron", ParallelConfig(mp=2)),
]


def silent(amount: float) -> None:
    pass


def written(weights: Weights, folder: Path, word: str, parallel: ParallelConfig, kind: Kind = "float32") -> Path:
    path, done = folder / word, [0.0]
    write_dialect(path, word, weights, parallel, kind, done.append)
    assert sum(done) == total_bytes(weights.model, word)
    return path


def read_back(path: Path, word: str, overrides: list[str]) -> Weights:
    return weights_of(open_source(path, word), overrides)[1]


def given(word: str) -> list[str]:
    """What the files do not say."""
    return [*HEADS, "model.vocab_size=50"] if word == "megatron" else HEADS


@pytest.mark.parametrize("kind", ["float32", "float16"])
@pytest.mark.parametrize(("word", "parallel"), LAYOUTS)
def test_there_and_back(
    weights: Weights,
    require_equal: Callable[[Weights], None],
    tmp_path: Path,
    word: str,
    parallel: ParallelConfig,
    kind: Kind,
) -> None:
    path = written(weights, tmp_path, word, parallel, kind)
    assert detect(path) == word
    found = read_back(path, word, given(word))
    require_equal(found)
    assert found.model.final_norm == "before_query_layer"
    assert not list(tmp_path.glob(".*.part*"))


def test_each_importer_sets_the_gelu_of_its_program(weights: Weights, tmp_path: Path) -> None:
    for word, expected in (("released", "tanh"), ("megatron", "erf")):
        assert read_back(written(weights, tmp_path, word, ParallelConfig()), word, given(word)).model.gelu == expected
    path = written(weights, tmp_path, "huggingface-imone", ParallelConfig())
    for activation, expected in (("gelu", "erf"), ("gelu_new", "tanh")):
        fields = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps({**fields, "activation_function": activation}))
        assert read_back(path, "huggingface-imone", []).model.gelu == expected
    (path / "config.json").unlink()
    assert read_back(path, "huggingface-imone", HEADS).model.gelu == "erf"
    assert read_back(path, "huggingface-imone", [*HEADS, "model.gelu=tanh"]).model.gelu == "tanh"


def test_the_rounding_to_float16_is_that_of_numpy(weights: Weights, tensors: Tensors, tmp_path: Path) -> None:
    third = Weights(weights.path, weights.model, lambda name: tensors[name] / np.float32(3))
    found = read_back(written(third, tmp_path, "megatron", ParallelConfig(), "float16"), "megatron", given("megatron"))
    for name, values in tensors.items():
        expected = (values / np.float32(3)).astype(np.float16).astype(np.float32)
        assert np.array_equal(found.read(name), expected), name


def test_what_float16_cannot_hold_is_refused_and_nothing_stays(
    weights: Weights, tensors: Tensors, tmp_path: Path
) -> None:
    large = Weights(weights.path, weights.model, lambda name: tensors[name] * np.float32(1e6))
    for word in DIALECTS:
        with pytest.raises(CheckpointError, match=r"numbers above 65504, which float16 has not: write float32"):
            written(large, tmp_path, word, ParallelConfig(), "float16")
    assert [path.name for path in tmp_path.iterdir() if "lock" not in path.name] == []


def test_an_imported_checkpoint_holds_the_weights_and_no_moments(
    weights: Weights, require_equal: Callable[[Weights], None], tmp_path: Path
) -> None:
    path = written(weights, tmp_path, "huggingface-sunzeyeah", ParallelConfig())
    config, found = weights_of(open_source(path, "huggingface-sunzeyeah"), ["model.dropout=0.2"])
    written_bytes: list[float] = []
    place = write_checkpoint(tmp_path / "run", config, found, {"tokenizer_fingerprint": "x"}, written_bytes.append)
    assert checkpoints_at(tmp_path / "run") == [place]
    checkpoint = open_checkpoint(place)
    assert set(checkpoint.index.tensors) == set(parameter_names(weights.model))
    assert sum(written_bytes) == total_bytes(weights.model)
    back = weights_of_checkpoint(checkpoint)
    require_equal(back)
    assert back.model == weights.model.model_copy(update={"dropout": 0.2})
    with pytest.raises(CheckpointError, match="is there already, and nothing is overwritten"):
        write_checkpoint(tmp_path / "run", config, found, {}, silent)


def test_hugging_face_folders_have_index_config_and_checksums(weights: Weights, tmp_path: Path) -> None:
    from safetensors import safe_open

    path = written(weights, tmp_path, "huggingface-imone", ParallelConfig())
    lines = [line.split("  ") for line in (path / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in lines} == {item.name for item in path.iterdir()} - {"SHA256SUMS"}
    assert all(hashlib.sha256((path / name).read_bytes()).hexdigest() == digest for digest, name in lines)
    index = json.loads((path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 4 * sum(
        int(np.prod(shape)) for shape in [*DIALECTS["huggingface-imone"].shapes(weights.model).values(), (50, 16)]
    )
    with safe_open(path / index["weight_map"]["lm_head.weight"], "np") as file:  # the library's own reader
        assert set(file.keys()) == set(index["weight_map"])
        assert np.array_equal(file.get_tensor("lm_head.weight"), weights.read("embedding.word.table"))
        query = file.get_tensor("transformer.h.2.attn.q_proj.weight")
        assert np.array_equal(query, weights.read("query_layer.attention.query.weight").T)


def test_many_files(
    weights: Weights,
    require_equal: Callable[[Weights], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pangu_alpha.convert import converting, huggingface

    def in_small_files(*arguments: object) -> None:
        huggingface.write_huggingface(*arguments, file_bytes=4096)  # type: ignore[arg-type]

    monkeypatch.setattr(converting, "write_huggingface", in_small_files)
    path = written(weights, tmp_path, "huggingface-imone", ParallelConfig())
    assert len(list(path.glob("model-*-of-000*.safetensors"))) > 5
    require_equal(read_back(path, "huggingface-imone", []))


def test_nothing_is_overwritten(weights: Weights, tmp_path: Path) -> None:
    path = written(weights, tmp_path, "megatron", ParallelConfig())
    with pytest.raises(CheckpointError, match="is there already, and nothing is overwritten"):
        write_dialect(path, "released", weights, ParallelConfig(), "float32", silent)


@pytest.mark.parametrize("word", DIALECTS)
def test_a_network_that_others_would_compute_otherwise_is_refused(
    weights: Weights, model: ModelConfig, tmp_path: Path, word: str
) -> None:
    other = Weights(weights.path, model.model_copy(update={"final_norm": "after_query_layer"}), weights.read)
    with pytest.raises(CheckpointError, match="its final LayerNorm after the query layer"):
        write_dialect(tmp_path / "out", word, other, ParallelConfig(), "float32", silent)


@pytest.mark.parametrize(
    ("word", "parallel", "said"),
    [
        ("released", ParallelConfig(mp=3), r"cannot be cut in \[3, 1\] equal parts"),
        ("megatron", ParallelConfig(mp=3), r"cannot be cut in 3 equal parts"),
    ],
)
def test_slices_must_divide(weights: Weights, tmp_path: Path, word: str, parallel: ParallelConfig, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        written(weights, tmp_path, word, parallel)
    assert not (tmp_path / word).exists()


def test_the_heads_must_be_known(weights: Weights, tmp_path: Path) -> None:
    path = written(weights, tmp_path, "released", ParallelConfig())
    with pytest.raises(ConfigError, match=r"no published network is of that size: add model\.num_heads=N"):
        read_back(path, "released", [])


def test_what_is_no_form_of_weights(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "absent"):
        with pytest.raises(PanguError, match="is no form of weights that is known here"):
            detect(path)


def test_our_own_is_detected(tensors: Tensors, tmp_path: Path) -> None:
    path = save_whole(tmp_path / "run" / "checkpoints", 3, tensors, {})
    assert detect(path) == detect(tmp_path / "run") == "pangu"
