"""From any form of weights to any other, tensor by tensor: no more than a few are in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from pangu_alpha import __version__
from pangu_alpha.checkpoint import Checkpoint, Save, commit, list_checkpoints, save_part
from pangu_alpha.config import ModelConfig, ParallelConfig, RunConfig, build_config
from pangu_alpha.convert.dialects import DIALECTS, Dialect
from pangu_alpha.convert.huggingface import FILES, find_dialect, open_huggingface, write_huggingface
from pangu_alpha.convert.megatron import LATEST, open_megatron, write_megatron
from pangu_alpha.convert.network import Weights
from pangu_alpha.convert.released import open_released, slice_files, write_released
from pangu_alpha.convert.source import Source
from pangu_alpha.convert.stored import Array, Kind
from pangu_alpha.errors import CheckpointError
from pangu_alpha.files import files_below, flush, remove, remove_leftovers, written_aside
from pangu_alpha.locks import only_one
from pangu_alpha.parallel.parameters import parameter_names, row_of
from pangu_alpha.parallel.parts import Box
from pangu_alpha.run_folder import CHECKPOINTS

Advance = Callable[[float], None]
OURS = "pangu"
"""The word for a checkpoint of this program."""


def detect(path: Path) -> str:
    """The word of the form that `path` is in: `pangu`, or one of `DIALECTS`.

    Raises:
        CheckpointError: it is none of them, or it cannot be read.
    """
    roots = (path, path / CHECKPOINTS) if path.is_dir() else ()
    if (path / "index.json").is_file() or any(map(list_checkpoints, roots)):
        return OURS
    if path.suffix == ".pt" or (path / LATEST).exists() or any(path.glob("mp_rank_*")):
        return "megatron"
    if any((path / name).exists() for name in FILES):
        return find_dialect(path).word
    if path.is_dir() and slice_files(path):
        return "released"
    raise CheckpointError(
        f"{path} is no form of weights that is known here: a checkpoint of ours, a folder with {FILES[0]} or one of "
        "its kind, one with a .ckpt file a rank, or one with iter_* of Megatron. If it is, name it with --from"
    )


def open_source(path: Path, word: str, strategy: Path | None = None) -> Source:
    """Open weights in the dialect `word`; `strategy` is the strategy file of released ones, if it lies elsewhere.

    Raises:
        CheckpointError, DamagedError: files are missing, or are not what they should be.
    """
    if not path.exists():
        raise CheckpointError(f"{path} does not exist")
    if word == "released":
        return open_released(path, strategy)
    source = open_megatron(path) if word == "megatron" else open_huggingface(path)
    if source.dialect.word != word:
        raise CheckpointError(f"{path} is {source.dialect.word}, not {word}: leave --from out, or correct it")
    return source


def weights_of_checkpoint(checkpoint: Checkpoint) -> Weights:
    """The weights of a checkpoint of ours.

    Raises:
        CheckpointError: its tensors are not those of its settings.
    """
    config = build_config(checkpoint.of_run("config"), source=f"{checkpoint.path}/index.json")
    shapes = {name: row_of(name).shape(config.model) for name in parameter_names(config.model)}
    checkpoint.require(shapes, weights_only=True)

    def read(name: str) -> Array:
        return checkpoint.read(name, Box.all_of(shapes[name]))

    return Weights(checkpoint.path, config.model, read)


def total_bytes(model: ModelConfig, word: str = OURS) -> int:
    """Of all that is written in the form `word`, counted in float32: what `advance` is told below."""
    parameters = sum(4 * math.prod(row_of(name).shape(model)) for name in parameter_names(model))
    head = 4 * model.vocab_size * model.hidden_size if word.startswith("huggingface") else 0  # a copy of the word table
    return parameters + head


def write_checkpoint(
    output: Path, config: RunConfig, weights: Weights, state: Mapping[str, Any], advance: Advance
) -> Path:
    """Write weights as a checkpoint of ours, of step 0 and without moments.

    Args:
        output: of a run that does not exist yet.
        config: with the network of the weights.
        weights: to write.
        state: what else the checkpoint says of them.
        advance: told the bytes that are written.

    Raises:
        CheckpointError: there are checkpoints already, or the disk is full or not writable.
        TrainingError: numbers are not finite.
    """
    root = output / CHECKPOINTS
    _require_new(output, list_checkpoints(root))
    output.mkdir(parents=True, exist_ok=True)
    shapes = {name: row_of(name).shape(config.model) for name in parameter_names(config.model)}
    whole = {
        "progress": {"step": 0, "num_updates": 0, "consumed_samples": 0},
        "data_fingerprint": None,
        "config": config.model_dump(mode="json"),
        "versions": {"pangu_alpha": __version__},
        **state,
    }

    def values(boxes: Mapping[str, Box]) -> Iterator[Array]:
        for name, box in boxes.items():
            yield weights.read(name)
            advance(4 * math.prod(box.shape))

    save = Save(root, 0, uuid4().hex)
    with only_one(output / ".rank_0.lock", f"the run {output}", "name a new output"):
        try:
            save_part(save, 0, {name: Box.all_of(shape) for name, shape in shapes.items()}, values)
            return commit(save, 1, shapes, whole)
        finally:
            remove(save.folder)


def write_dialect(
    output: Path, word: str, weights: Weights, parallel: ParallelConfig, kind: Kind, advance: Advance
) -> None:
    """Write weights in the dialect `word`, aside, and give the folder its name at the end.

    Args:
        output: a new folder.
        word: of the dialect.
        weights: to write.
        parallel: into how many slices, where the dialect has any.
        kind: of the numbers.
        advance: told the bytes, counted in float32.

    Raises:
        CheckpointError: the output exists, the network is another than the dialect has, or the disk is full.
    """
    dialect, model = DIALECTS[word], weights.model
    _require_new(output, output.exists())
    _require_known(dialect, model)
    output.parent.mkdir(parents=True, exist_ok=True)
    ours = {place.name: (name, place) for name, place in dialect.places(model).items()}

    def read(name: str) -> Array:
        own, place = ours[name]
        values = weights.read(own)
        advance(values.nbytes)
        return np.ascontiguousarray(values.T) if place.is_transposed else values

    tensors = ((name, read(name)) for name in ours)
    with only_one(output.with_name(f".{output.name}.lock"), f"the folder {output}", "name a new output"):
        remove_leftovers(output)
        try:
            with written_aside(output) as aside:
                if word == "released":
                    write_released(aside, model, parallel, tensors, kind)
                elif word == "megatron":
                    write_megatron(aside, model, parallel.mp, tensors, kind)
                else:
                    write_huggingface(aside, dialect, model, read, kind)
                for path in files_below(aside):
                    flush(path)
            flush(output.parent)
        except OSError as error:
            raise CheckpointError(f"{output} could not be written: {error}") from error


def _require_new(output: Path, is_there: object) -> None:
    if is_there:
        raise CheckpointError(f"{output} is there already, and nothing is overwritten: name a new output")


def _require_known(dialect: Dialect, model: ModelConfig) -> None:
    if model.final_norm != "before_query_layer":
        raise CheckpointError(
            f"this network has its final LayerNorm after the query layer (model.final_norm), and every program that "
            f"reads {dialect.word} computes it before: its output would be another"
        )
