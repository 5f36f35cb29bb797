"""The port to Megatron-LM 1.1: `iter_N/mp_rank_MM/model_optim_rng.pt`, a file a slice, with a padded vocabulary."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pangu_alpha.config import ModelConfig
from pangu_alpha.convert.dialects import DIALECTS
from pangu_alpha.convert.source import Source
from pangu_alpha.convert.stored import Array, Kind, Stored, Tensor
from pangu_alpha.convert.torch_file import TorchWriter, closing_all, read_torch
from pangu_alpha.convert.torch_pickle import Inert
from pangu_alpha.errors import CheckpointError
from pangu_alpha.parallel.parameters import Shape, row_of
from pangu_alpha.parallel.parts import Box
from pangu_alpha.reading import list_folder

DIALECT = DIALECTS["megatron"]
LATEST = "latest_checkpointed_iteration.txt"
_FILE = "model_optim_rng.pt"
_ITERATION = 1000
"""The one of the published files; Megatron refuses 0."""
_PAD = 128
"""The vocabulary is padded to a multiple of this × slices."""
_MAX_SLICES = 64


def slice_files(path: Path) -> list[Path]:
    """The files of all slices, in their order; `path` is the folder with iter_*, an iter_* folder or one file.

    Raises:
        CheckpointError: there is none, or some are missing.
    """
    if path.is_file():
        return [path]
    folder = path
    if (path / LATEST).exists():
        text = (path / LATEST).read_text(encoding="utf-8", errors="replace").strip()
        folder = path / (text if text == "release" else f"iter_{int(text):07d}" if text.isdigit() else "iter_")
    files = [item / _FILE for item in list_folder(folder, "mp_rank_*")]
    numbers = [re.fullmatch(r"mp_rank_(\d+)", item.parent.name) for item in files]
    if not files or [int(found[1]) if found else -1 for found in numbers] != list(range(len(files))):
        raise CheckpointError(f"{folder} has no mp_rank_00, mp_rank_01, ... in a row, each with a {_FILE}")
    return files


def open_megatron(path: Path) -> Source:
    """The weights below a path, of all slices.

    Raises:
        CheckpointError: files are missing, or hold something that has no place in a file of weights.
        DamagedError: a file is cut off.
    """
    files = slice_files(path)
    found = [read_torch(file) for file in files]
    slices = [
        {name.removeprefix("model."): item for name, item in one.tensors.items() if name.startswith("model.")}
        for one in found
    ]
    for number, names in enumerate(slices):
        if set(names) != set(slices[0]):
            other = sorted(set(names) ^ set(slices[0]))
            raise CheckpointError(f"{files[number]} and {files[0]} hold other names: {', '.join(other[:8])}")
    tensors = {name: _joined(name, [one[name] for one in slices]) for name in slices[0]}
    left_out = tuple(name for name in found[0].tensors if not name.startswith("model."))
    return Source(path, DIALECT, tensors, _network(found[0].others.get("args")), left_out)


def _network(arguments: Any) -> dict[str, Any]:
    """What the arguments of the program that saved it say."""
    state = arguments.state if isinstance(arguments, Inert) and isinstance(arguments.state, dict) else {}
    found: dict[str, Any] = {}
    if isinstance(state.get("num_attention_heads"), int):
        found["num_heads"] = state["num_attention_heads"]
    if state.get("bias_gelu_fusion") or state.get("openai_gelu"):
        found["gelu"] = "tanh"
    return found


def _cuts() -> dict[str, int]:
    """The dim along which the slices are cut, of the names that are, without the prefix of a layer."""
    found = {}
    for ours, place in DIALECT.rows().items():
        cut = row_of(ours).cut[::-1] if place.is_transposed else row_of(ours).cut
        if "mp" in cut:
            found[place.name] = cut.index("mp")
    return found


def _cut_of(name: str) -> int | None:
    inside = re.sub(r"^language_model\.transformer\.(layers\.\d+|topQueryLayer)\.", "", name)
    return _cuts().get(inside)


def _joined(name: str, parts: list[Stored]) -> Tensor:
    dim, first = _cut_of(name), parts[0]
    if any(part.shape != first.shape for part in parts):
        shapes = ", ".join(str(list(part.shape)) for part in parts)
        raise CheckpointError(f"the slices of {name} have other shapes: {shapes}")
    if dim is None or len(parts) == 1:
        return Tensor.of(first)
    whole = tuple(size * (len(parts) if place == dim else 1) for place, size in enumerate(first.shape))

    def read() -> Array:
        values = np.empty(whole, np.float32)
        for number, part in enumerate(parts):
            values[_box(number, first.shape, dim).index] = part.read()
        return values

    return Tensor(whole, read)


def _box(number: int, part: Shape, dim: int) -> Box:
    return Box(tuple(number * size if place == dim else 0 for place, size in enumerate(part)), part)


def padded_vocabulary(vocab_size: int, num_slices: int) -> int:
    """Rows of the word table there."""
    step = _PAD * num_slices
    return -(-vocab_size // step) * step


def require_padding(rows: int, vocab_size: int) -> None:
    """Refuse a word table that is not that of a vocabulary.

    Raises:
        CheckpointError: no number of slices pads it so.
    """
    known = {padded_vocabulary(vocab_size, 1 << power): 1 << power for power in range(_MAX_SLICES.bit_length())}
    if rows not in {vocab_size, *known}:
        words = ", ".join(f"{size:,}" for size in list(known)[:5])
        raise CheckpointError(
            f"the word table has {rows:,} rows. A vocabulary of {vocab_size:,} is padded to {words} ... for 1, 2, 4, "
            "8, 16 slices: set model.vocab_size to the words that exist"
        )


def write_megatron(
    folder: Path, model: ModelConfig, num_slices: int, tensors: Iterator[tuple[str, Array]], kind: Kind
) -> None:
    """Write weights as Megatron-LM 1.1 would have saved them; load them with its `--finetune`.

    Args:
        folder: new.
        model: the network.
        num_slices: of Megatron's model parallelism.
        tensors: name and values there, in the order of the dialect.
        kind: of the numbers.

    Raises:
        CheckpointError: the slices do not divide a dim, or a number is too large for `kind`.
        OSError: the disk is full or not writable.
    """
    shapes = DIALECT.shapes(model)
    shapes[DIALECT.tables[0]] = (padded_vocabulary(model.vocab_size, num_slices), model.hidden_size)
    parts = {name: _part(name, shape, num_slices) for name, shape in shapes.items()}
    paths = [folder / f"iter_{_ITERATION:07d}" / f"mp_rank_{number:02d}" / _FILE for number in range(num_slices)]
    for path in paths:
        path.parent.mkdir(parents=True)
    tree: dict[str, Any] = {"iteration": _ITERATION, "model": {}}
    for name, shape in parts.items():
        _put(tree["model"], name, shape)
    writers = [TorchWriter(path, tree, kind) for path in paths]
    with closing_all(writers):
        for name, values in tensors:
            dim, whole = _cut_of(name), _padded(values, shapes[name][0])
            for number, writer in enumerate(writers):
                writer.write(f"model.{name}", whole if dim is None else whole[_box(number, parts[name], dim).index])
    (folder / LATEST).write_text(f"{_ITERATION}\n", encoding="utf-8")


def _padded(values: Array, num_rows: int) -> Array:
    missing = num_rows - values.shape[0]
    return np.concatenate([values, np.zeros((missing, *values.shape[1:]), np.float32)]) if missing else values


def _part(name: str, shape: Shape, num_slices: int) -> Shape:
    dim = _cut_of(name)
    if dim is None:
        return shape
    if shape[dim] % num_slices:
        raise CheckpointError(
            f"{name} {list(shape)} cannot be cut in {num_slices} equal parts: choose parallel.mp anew"
        )
    return tuple(size // (num_slices if place == dim else 1) for place, size in enumerate(shape))


def _put(tree: dict[str, Any], name: str, shape: Shape) -> None:
    """Put a tensor where Megatron has it: dicts within dicts, but flat below `transformer`."""
    outer, transformer, inside = name.partition("transformer.")
    *keys, last = [*outer.strip(".").split("."), "transformer", inside] if transformer else name.split(".")
    for key in keys:
        tree = tree.setdefault(key, {})
    tree[last] = shape
