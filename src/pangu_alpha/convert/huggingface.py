"""Folders for Hugging Face transformers: config.json and weights in safetensors or in PyTorch's own files."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pangu_alpha.config import ModelConfig
from pangu_alpha.convert.dialects import DIALECTS, Dialect
from pangu_alpha.convert.safetensors_file import read_safetensors, write_safetensors
from pangu_alpha.convert.source import Source
from pangu_alpha.convert.stored import Array, Kind, Stored, Tensor, num_bytes, row_blocks
from pangu_alpha.convert.torch_file import read_torch
from pangu_alpha.errors import CheckpointError, DamagedError
from pangu_alpha.parallel.parameters import Shape
from pangu_alpha.reading import read_json

HEAD = "lm_head.weight"
"""The output head, which is a copy of the word table there."""
CONFIG, CHECKSUMS = "config.json", "SHA256SUMS"
_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SINGLE = ("model.safetensors", "pytorch_model.bin")
FILES = (*_INDICES, *_SINGLE)
"""What such a folder is known by."""
_GELU = {"gelu": "erf", "gelu_new": "tanh", "gelu_fast": "tanh", "gelu_pytorch_tanh": "tanh"}
"""`activation_function` → `model.gelu`."""
_ACTIVATIONS = {"erf": "gelu", "tanh": "gelu_new"}
_FILE_BYTES = 5 << 30
"""Of one file that is written, unless a tensor has more."""


def open_huggingface(folder: Path) -> Source:
    """The weights in a folder, in whichever of the two dialects.

    Raises:
        CheckpointError: files are missing, or it computes something that our network does not.
        DamagedError: a file is not what its name says.
    """
    stored, dialect = _stored(folder), find_dialect(folder)
    network = _network(folder / CONFIG) if (folder / CONFIG).exists() else {}
    left_out = tuple(name for name in stored if dialect.ignored.fullmatch(name))
    stored = {name: item for name, item in stored.items() if name not in left_out}
    if HEAD in stored:
        _require_tied(folder, stored.pop(HEAD), stored.get(dialect.tables[0]))
    return Source(folder, dialect, {name: Tensor.of(item) for name, item in stored.items()}, network, left_out)


def find_dialect(folder: Path) -> Dialect:
    """Which of the two the names in a folder are of; no numbers are read.

    Raises:
        CheckpointError, DamagedError: as `open_huggingface`.
    """
    stored = _stored(folder)
    for word in ("huggingface-imone", "huggingface-sunzeyeah"):
        if f"transformer.h.0.{DIALECTS[word].inside[3]}.weight" in stored:
            return DIALECTS[word]
    raise CheckpointError(
        f"{folder} holds another network: neither transformer.h.0.attn.out_proj.weight nor "
        f"transformer.h.0.attn.c_proj.weight is among its {len(stored):,} tensors"
    )


def _stored(folder: Path) -> dict[str, Stored]:
    return {name: item for path in _weight_files(folder) for name, item in _read(path).items()}


def _weight_files(folder: Path) -> list[Path]:
    for name in _INDICES:
        if (folder / name).exists():
            index = _json(folder / name)
            names = sorted(set(index["weight_map"].values())) if isinstance(index.get("weight_map"), dict) else []
            if not names or any(PurePosixPath(str(item)).name != item for item in names):
                raise DamagedError(f"{folder / name} is no index of weights: it names {names or 'no file'}")
            return [folder / item for item in names]
    found = [folder / name for name in _SINGLE if (folder / name).exists()]
    if not found:
        raise CheckpointError(f"{folder} has none of {', '.join(FILES)}")
    return found[:1]


def _read(path: Path) -> Mapping[str, Stored]:
    return read_safetensors(path) if path.suffix == ".safetensors" else read_torch(path).tensors


def _network(path: Path) -> dict[str, Any]:
    fields = _json(path)
    activation = fields.get("activation_function", "gelu")
    problems = [
        f"activation_function is {activation!r}, and {', '.join(_GELU)} are known" if activation not in _GELU else "",
        *(
            f"{name} is {fields[name]!r}, and here it is {value!r}"
            for name, value in (("layer_norm_epsilon", 1e-5), ("scale_attn_weights", True))
            if fields.get(name, value) != value
        ),
    ]
    if any(problems):
        raise CheckpointError(f"{path}: {'; '.join(filter(None, problems))}. Our network does not compute that")
    names = {"num_heads": "num_heads", "num_layers": "num_layers", "vocab_size": "vocab_size"}
    names |= {"seq_length": "max_position_embeddings", "hidden_size": "hidden_size"}
    found = {ours: fields[theirs] for ours, theirs in names.items() if theirs in fields}
    return {**found, "gelu": _GELU[activation]}


def _require_tied(folder: Path, head: Stored, table: Stored | None) -> None:
    if table is None or table.shape != head.shape:
        return  # the table itself will be reported
    for begin, stop in row_blocks(table.shape):
        if head.read(begin, stop).tobytes() != table.read(begin, stop).tobytes():
            raise CheckpointError(
                f"{folder}: {HEAD} is not the word table (rows {begin} to {stop - 1} differ). Our network has one "
                "table for both and would compute something else"
            )


def _json(path: Path) -> dict[str, Any]:
    try:
        fields = read_json(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DamagedError(f"{path} is damaged: {error}") from error
    if not isinstance(fields, dict):
        raise DamagedError(f"{path} is damaged: it holds no object")
    return fields


def write_huggingface(
    folder: Path,
    dialect: Dialect,
    model: ModelConfig,
    read: Callable[[str], Array],
    kind: Kind,
    file_bytes: int = _FILE_BYTES,
) -> None:
    """Write a folder: weights in files of safetensors with an index, config.json and a list of checksums.

    Args:
        folder: new.
        dialect: one of the two.
        model: the network.
        read: gives the tensor of a name there.
        kind: of the numbers.
        file_bytes: of one file, unless a tensor has more.

    Raises:
        CheckpointError: the network is another than the dialect's, or a number is too large for `kind`.
        OSError: the disk is full or not writable.
    """
    folder.mkdir(parents=True)
    word_table = dialect.tables[0]
    shapes = dialect.shapes(model)
    groups = list(_groups({**shapes, HEAD: shapes[word_table]}, kind, file_bytes))
    sums, weight_map = {}, {}
    for number, group in enumerate(groups, 1):
        name = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        values = (read(word_table if item == HEAD else item) for item in group)
        sums[name] = write_safetensors(folder / name, group, values, kind)
        weight_map.update(dict.fromkeys(group, name))
    total = sum(num_bytes(shape, kind) for group in groups for shape in group.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    for name, fields in ((_INDICES[0], index), (CONFIG, _config(model, kind))):
        sums[name] = _write_json(folder / name, fields)
    lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    (folder / CHECKSUMS).write_text(lines, encoding="utf-8")


def _groups(shapes: Mapping[str, Shape], kind: Kind, file_bytes: int) -> Iterator[dict[str, Shape]]:
    ends = itertools.accumulate(num_bytes(shape, kind) for shape in shapes.values())
    places = ((end - 1) // file_bytes for end in ends)
    for _, group in itertools.groupby(zip(places, shapes.items(), strict=True), key=lambda item: item[0]):
        yield dict(item for _, item in group)


def _write_json(path: Path, fields: Mapping[str, Any]) -> str:
    data = (json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode()
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def _config(model: ModelConfig, kind: Kind) -> dict[str, Any]:
    return {
        "architectures": ["GPTPanguForCausalLM"],
        "model_type": "gpt_pangu",
        "vocab_size": model.vocab_size,
        "max_position_embeddings": model.seq_length,
        "hidden_size": model.hidden_size,
        "intermediate_size": model.feed_forward_size,
        "num_layers": model.num_layers,
        "num_heads": model.num_heads,
        "activation_function": _ACTIVATIONS[model.gelu],
        "layer_norm_epsilon": 1e-5,
        "scale_attn_weights": True,
        "resid_pdrop": model.dropout,
        "embd_pdrop": model.dropout,
        "attn_pdrop": model.dropout,
        "tie_word_embeddings": False,
        "torch_dtype": kind,
    }
