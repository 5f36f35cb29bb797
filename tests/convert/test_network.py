"""What is imported computes what the program that it comes from does: logits beside NumPy in that dialect's names."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.special import erf

from pangu_alpha.config import ParallelConfig
from pangu_alpha.convert import Weights, open_source, weights_of, write_dialect
from pangu_alpha.convert.torch_file import read_torch
from pangu_alpha.errors import CheckpointError, DamagedError

os.environ.setdefault("GLOG_v", "3")  # before MindSpore is imported
Array = NDArray[np.float64]
IDS = np.array([7, 3, 49, 0, 12, 7, 7, 30], np.int32)


def erf_gelu(x: Array) -> Array:
    return x * 0.5 * (1 + erf(x / math.sqrt(2)))


def tanh_gelu(x: Array) -> Array:
    return x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def huggingface_logits(state: dict[str, Array], gelu: Callable[[Array], Array]) -> Array:
    """`GPTPanguForCausalLM` on one sequence: y = x·Wᵀ + b; the last block asks with wqe; ln_f stands before it."""

    def linear(name: str, x: Array) -> Array:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(name: str, x: Array) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    def heads(x: Array) -> Array:
        return x.reshape(len(x), 4, 4).transpose(1, 0, 2)

    places = np.arange(len(IDS))
    x = state["transformer.wte.weight"][IDS] + state["transformer.wpe.weight"][places]
    for number in range(3):
        block = f"transformer.h.{number}"
        if number == 2:
            x = norm("transformer.ln_f", x)
        normed = norm(f"{block}.ln_1", x)
        asks = state["transformer.wqe.weight"][places] if number == 2 else normed
        query = heads(linear(f"{block}.attn.q_proj", asks))
        key, value = (heads(linear(f"{block}.attn.{name}_proj", normed)) for name in "kv")
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(4)
        scores = np.where(np.tril(np.ones_like(scores)) > 0, scores, -np.inf)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        x = x + linear(f"{block}.attn.out_proj", (shares @ value).transpose(1, 0, 2).reshape(len(x), 16))
        x = x + linear(f"{block}.mlp.c_proj", gelu(linear(f"{block}.mlp.c_fc", norm(f"{block}.ln_2", x))))
    return x @ state["lm_head.weight"].T


@pytest.fixture(scope="module")
def our_logits() -> Callable[[Weights], NDArray[np.float32]]:
    """Of the network of weights, on a CPU."""
    from mindspore import Tensor

    from pangu_alpha.model import PanguAlpha
    from pangu_alpha.runtime.device import set_device

    set_device("cpu")

    def compute(weights: Weights) -> NDArray[np.float32]:
        network = PanguAlpha(weights.model).set_train(False)
        for item in network.trainable_params():
            item.set_data(Tensor(weights.read(item.name)))
        tokens = IDS[None]
        inputs = (tokens, np.arange(len(IDS), dtype=np.int32)[None], np.zeros_like(tokens), np.zeros(1, np.int32))
        return network(*map(Tensor, inputs)).asnumpy()

    return compute


@pytest.fixture
def folder(weights: Weights, tmp_path: Path) -> Path:
    path = tmp_path / "imone"
    write_dialect(path, "huggingface-imone", weights, ParallelConfig(), "float32", lambda amount: None)
    return path


def imported(path: Path, word: str = "huggingface-imone", *overrides: str) -> Weights:
    return weights_of(open_source(path, word), overrides)[1]


@pytest.mark.parametrize(("activation", "gelu"), [("gelu", erf_gelu), ("gelu_new", tanh_gelu)])
def test_logits_are_those_of_hugging_face(
    folder: Path, our_logits: Callable[[Weights], Array], activation: str, gelu: Callable[[Array], Array]
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "activation_function": activation}))
    (path,) = folder.glob("*.safetensors")
    state = {name: value.astype(np.float64) for name, value in load_file(path).items()}
    expected = huggingface_logits(state, gelu)
    found = our_logits(imported(folder))
    assert np.abs(found - expected).max() < 2e-6 * np.abs(expected).max()
    other = huggingface_logits(state, tanh_gelu if gelu is erf_gelu else erf_gelu)
    assert np.abs(found - other).max() > 2e-5 * np.abs(expected).max()  # the other form would have been noticed


def test_logits_are_those_of_the_release(
    weights: Weights, folder: Path, tmp_path: Path, our_logits: Callable[[Weights], Array]
) -> None:
    """The release keeps four of six matrices transposed to Hugging Face's; its own names and order are renamed here."""
    import mindspore as ms

    path = tmp_path / "released"
    write_dialect(path, "released", weights, ParallelConfig(), "float32", lambda amount: None)
    raw = {name: item.asnumpy() for name, item in ms.load_checkpoint(str(path / "filerted_0.ckpt")).items()}
    state: dict[str, Array] = {}
    for number, block in enumerate(("blocks.0", "blocks.1", "top_query_layer")):
        theirs, ours = f"backbone.{block}", f"transformer.h.{number}"
        for part, name in (("dense1", "q_proj"), ("dense2", "k_proj"), ("dense3", "v_proj")):
            state[f"{ours}.attn.{name}.weight"] = raw[f"{theirs}.attention.{part}.weight"]
            state[f"{ours}.attn.{name}.bias"] = raw[f"{theirs}.attention.{part}.bias"]
        for part, name in (
            ("attention.projection", "attn.out_proj"),
            ("output.mapping", "mlp.c_fc"),
            ("output.projection", "mlp.c_proj"),
        ):
            state[f"{ours}.{name}.weight"] = raw[f"{theirs}.{part}.weight"].T
            state[f"{ours}.{name}.bias"] = raw[f"{theirs}.{part}.bias"]
        for part in ("1", "2"):
            state[f"{ours}.ln_{part}.weight"] = raw[f"{theirs}.layernorm{part}.gamma"]
            state[f"{ours}.ln_{part}.bias"] = raw[f"{theirs}.layernorm{part}.beta"]
    state["transformer.ln_f.weight"] = raw["backbone.layernorm.gamma"]
    state["transformer.ln_f.bias"] = raw["backbone.layernorm.beta"]
    for name, table in (("wte", "word"), ("wpe", "position"), ("wqe", "top_query")):
        state[f"transformer.{name}.weight"] = np.load(path / f"{table}_embedding.npy")
    state["lm_head.weight"] = state["transformer.wte.weight"]
    exact = {name: value.astype(np.float64) for name, value in state.items()}
    expected = huggingface_logits(exact, tanh_gelu)
    found = our_logits(imported(path, "released", "model.num_heads=4"))
    assert np.abs(found - expected).max() < 2e-6 * np.abs(expected).max()


# Planted faults in folders for Hugging Face.


def changed(folder: Path, change: Callable[[dict[str, NDArray[Any]]], Any]) -> None:
    (path,) = folder.glob("*.safetensors")
    state = load_file(path)
    change(state)
    save_file({name: np.ascontiguousarray(value) for name, value in state.items()}, path)


def configured(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _masks(state: dict[str, NDArray[Any]]) -> None:
    state["transformer.h.0.attn.bias"] = np.ones((1, 1, 8, 8), np.float32)
    state["transformer.h.0.attn.masked_bias"] = np.float32(-1e4).reshape(1)


WEIGHT_BIAS = ("weight", "bias")
EXTRA = np.ones(2, np.float32)
C_FC = "transformer.h.1.mlp.c_fc.weight"
FAULTS: list[tuple[Callable[[Path], Any], str]] = [
    (lambda folder: changed(folder, lambda state: state.pop(C_FC)), f"it lacks {C_FC}"),
    (lambda folder: changed(folder, lambda state: state.update(extra=EXTRA)), "not used: extra"),
    (
        lambda folder: changed(folder, lambda state: state.update({C_FC: state[C_FC].T})),
        rf"of another shape: {C_FC} \[16, 64\], in this network \[64, 16\]",
    ),
    (
        lambda folder: changed(folder, lambda state: state["lm_head.weight"].__setitem__((31, 2), 9.0)),
        r"lm_head.weight is not the word table \(rows 0 to 49 differ\)",
    ),
    (
        lambda folder: configured(folder, activation_function="relu"),
        "activation_function is 'relu', and gelu, ",
    ),
    (lambda folder: configured(folder, layer_norm_epsilon=1e-6), "layer_norm_epsilon is 1e-06, and here it is 1e-05"),
    (lambda folder: configured(folder, scale_attn_weights=False), "scale_attn_weights is False, and here it is True"),
    (lambda folder: configured(folder, num_layers=4), "it lacks transformer.h.3.ln_1.weight, .* and 8 more"),
    (
        lambda folder: configured(folder, vocab_size=49),
        r"wte.weight \[50, 16\], in this network \[49, 16\]",
    ),
    (lambda folder: (folder / "config.json").write_text("{"), "config.json is damaged"),
    (lambda folder: next(folder.glob("*.safetensors")).unlink(), "cannot be read: No such file"),
    (
        lambda folder: (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../x"}}'),
        "is no index of weights: it names",
    ),
]


@pytest.mark.parametrize(("plant", "said"), FAULTS, ids=[said[:40] for _, said in FAULTS])
def test_planted_faults(folder: Path, plant: Callable[[Path], Any], said: str) -> None:
    plant(folder)
    with pytest.raises(CheckpointError, match=said):
        imported(folder)


def test_masks_are_left_out_and_the_head_may_be_absent(folder: Path, require_equal: Callable[[Weights], None]) -> None:
    changed(folder, _masks)
    changed(folder, lambda state: state.pop("lm_head.weight"))
    source = open_source(folder, "huggingface-imone")
    assert set(source.left_out) == {"transformer.h.0.attn.bias", "transformer.h.0.attn.masked_bias"}
    require_equal(weights_of(source, [])[1])


def test_the_other_dialect_is_named(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="is huggingface-imone, not huggingface-sunzeyeah: leave --from out"):
        imported(folder, "huggingface-sunzeyeah")


def test_files_of_pytorch_in_such_a_folder(
    weights: Weights, folder: Path, require_equal: Callable[[Weights], None]
) -> None:
    from pangu_alpha.convert.torch_file import TorchWriter

    (path,) = folder.glob("*.safetensors")
    state = load_file(path)
    for item in folder.glob("model*"):
        item.unlink()
    writer = TorchWriter(folder / "pytorch_model.bin", {name: value.shape for name, value in state.items()}, "float32")
    for name, value in state.items():
        writer.write(name, value)
    writer.close()
    require_equal(imported(folder))


# Planted faults in the port to Megatron.


@pytest.fixture
def megatron(weights: Weights, tmp_path: Path) -> Path:
    path = tmp_path / "megatron"
    write_dialect(path, "megatron", weights, ParallelConfig(mp=2), "float32", lambda amount: None)
    return path


def from_megatron(path: Path, vocab_size: int = 50) -> Weights:
    return imported(path, "megatron", "model.num_heads=4", f"model.vocab_size={vocab_size}")


def test_slices_are_cut_as_megatron_cuts_them(megatron: Path) -> None:
    """Columns of what comes first, rows of what comes second, the vocabulary; the rest is whole in each slice."""
    found = read_torch(megatron / "iter_0001000" / "mp_rank_01" / "model_optim_rng.pt").tensors
    layer = "model.language_model.transformer.layers.0"
    assert {name: item.shape for name, item in found.items() if ".layers.1." not in name and "QueryL" not in name} == {
        f"{layer}.attention.query.weight": (8, 16),
        f"{layer}.attention.query.bias": (8,),
        f"{layer}.attention.key.weight": (8, 16),
        f"{layer}.attention.key.bias": (8,),
        f"{layer}.attention.value.weight": (8, 16),
        f"{layer}.attention.value.bias": (8,),
        f"{layer}.attention.dense.weight": (16, 8),
        f"{layer}.attention.dense.bias": (16,),
        f"{layer}.mlp.dense_h_to_4h.weight": (32, 16),
        f"{layer}.mlp.dense_h_to_4h.bias": (32,),
        f"{layer}.mlp.dense_4h_to_h.weight": (16, 32),
        f"{layer}.mlp.dense_4h_to_h.bias": (16,),
        **{f"{layer}.{norm}_layernorm.{part}": (16,) for norm in ("input", "post_attention") for part in WEIGHT_BIAS},
        **{f"model.language_model.transformer.final_layernorm.{part}": (16,) for part in WEIGHT_BIAS},
        "model.language_model.embedding.word_embeddings.weight": (128, 16),
        "model.language_model.embedding.position_embeddings.weight": (8, 16),
        "model.language_model.topQueryEmbedding.top_query_embeddings.weight": (8, 16),
    }
    assert found["model.language_model.transformer.topQueryLayer.mlp.dense_4h_to_h.weight"].shape == (16, 32)


def test_padded_rows_of_the_vocabulary(megatron: Path) -> None:
    source = open_source(megatron, "megatron")
    assert source.tensors["language_model.embedding.word_embeddings.weight"].shape == (256, 16)
    assert from_megatron(megatron).read("embedding.word.table").shape == (50, 16)
    assert from_megatron(megatron, 130).model.vocab_size == 130  # it would be padded so, too
    for wrong in (257, 40000):
        with pytest.raises(CheckpointError, match=r"the word table has 256 rows. A vocabulary of"):
            from_megatron(megatron, wrong)
    with pytest.raises(CheckpointError, match=r"A vocabulary of 40,000 is padded to 40,064, 40,192, 40,448, 40,960"):
        imported(megatron, "megatron", "model.num_heads=4")


def test_what_the_arguments_beside_the_weights_say(megatron: Path) -> None:
    """Heads, and the form of GeLU that Megatron was run with."""
    for path in megatron.glob("iter_*/mp_rank_*/*.pt"):
        with zipfile.ZipFile(path) as file:
            entries = {name: file.read(name) for name in file.namelist()}
        arguments = pickle.dumps({"args": Namespace(num_attention_heads=2, bias_gelu_fusion=True)}, protocol=2)
        inner = arguments[arguments.index(b"X") : -2]  # the key and the value, without the dict around them
        entries["archive/data.pkl"] = entries["archive/data.pkl"][:-2] + inner + b"u."
        with zipfile.ZipFile(path, "w") as file:
            for name, data in entries.items():
                file.writestr(name, data)
    found = imported(megatron, "megatron", "model.vocab_size=50")
    assert (found.model.num_heads, found.model.gelu) == (2, "tanh")


def test_swapped_slices_give_other_weights(megatron: Path, require_equal: Callable[[Weights], None]) -> None:
    require_equal(from_megatron(megatron))
    first, second = sorted(megatron.glob("iter_*/mp_rank_*"))
    first.rename(first.with_name("aside"))
    second.rename(first)
    first.with_name("aside").rename(second)
    with pytest.raises(AssertionError):
        require_equal(from_megatron(megatron))


def test_a_slice_that_is_missing_or_cut_off(megatron: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(megatron, tmp_path / "other"))
    first, second = sorted(megatron.glob("iter_*/mp_rank_*/*.pt"))
    shutil.rmtree(first.parent)
    with pytest.raises(CheckpointError, match=r"has no mp_rank_00, mp_rank_01, ... in a row"):
        from_megatron(megatron)
    (path,) = other.glob("iter_*/mp_rank_01/*.pt")
    path.write_bytes(second.read_bytes()[:-100])
    with pytest.raises(DamagedError, match="is damaged or cut off, or not a file of PyTorch"):
        from_megatron(other)
