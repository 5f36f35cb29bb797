"""Which network the weights of a dialect make up, and its parameters by their names here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pangu_alpha.config import MODEL_PRESETS, ModelConfig, RunConfig, build_config
from pangu_alpha.convert.megatron import require_padding
from pangu_alpha.convert.source import Source
from pangu_alpha.convert.stored import Array, Tensor
from pangu_alpha.errors import CheckpointError, ConfigError

PUBLISHED_VOCABULARY = 40_000
_MAX_NAMES = 8
"""In a message."""


@dataclass(frozen=True)
class Weights:
    """The parameters of a network."""

    path: Path
    model: ModelConfig
    read: Callable[[str], Array]
    """Gives the whole tensor of one of our names, float32."""


def weights_of(source: Source, overrides: Sequence[str]) -> tuple[RunConfig, Weights]:
    """The settings of a network that has these weights, and the weights; both from shapes, names and `overrides`.

    Args:
        source: the weights.
        overrides: settings that replace what is found, `section.key=value`.

    Raises:
        CheckpointError: names or shapes are not those of the network; all are listed.
        ConfigError: the settings cannot be found out, or contradict each other.
    """
    vocab_size = _given(overrides, "model.vocab_size")
    source = _without_padding(source, vocab_size) if source.dialect.word == "megatron" else source
    config = build_config(_settings(source, overrides), overrides, source=str(source.path))
    _require(source, config.model)
    places = source.dialect.places(config.model)

    def read(name: str) -> Array:
        values = source.tensors[places[name].name].read()
        return np.ascontiguousarray(values.T) if places[name].is_transposed else values

    return config, Weights(source.path, config.model, read)


def _given(overrides: Sequence[str], key: str) -> int | None:
    found = [text.partition("=")[2] for text in overrides if text.startswith(f"{key}=")]
    if not found:
        return None
    if not found[-1].isdigit():
        raise ConfigError(f"{key}={found[-1]} is no whole number")
    return int(found[-1])


def _without_padding(source: Source, vocab_size: int | None) -> Source:
    name = source.dialect.tables[0]
    table = source.tensors.get(name)
    if table is None or len(table.shape) != 2:
        return source
    words = vocab_size or PUBLISHED_VOCABULARY
    require_padding(table.shape[0], words)
    trimmed = Tensor((words, table.shape[1]), lambda: table.read()[:words])
    return replace(source, tensors={**source.tensors, name: trimmed})


def _settings(source: Source, overrides: Sequence[str]) -> dict[str, Any]:
    sizes = {**_sizes(source), "final_norm": "before_query_layer", "gelu": source.dialect.gelu}
    model = {**sizes, "compute_dtype": "float32", **source.network}
    if "num_heads" not in model and not any(text.startswith("model.num_heads=") for text in overrides):
        model["num_heads"] = _heads(source, model)
    # Nothing says how it is to be trained; whoever does has a recipe.
    schedule = {"learning_rate": 1e-5, "end_learning_rate": 1e-6, "warmup_steps": 0, "decay_steps": 1}
    return {"device": "cpu", "model": model, "train": {"steps": 1, "batch_size": 1}, "schedule": schedule}


def _sizes(source: Source) -> dict[str, Any]:
    dialect = source.dialect
    missing = [name for name in dialect.tables if name not in source.tensors]
    num_layers = dialect.num_layers(list(source.tensors))
    if missing or not num_layers:
        raise CheckpointError(
            f"{source.path} lacks {', '.join(missing) or 'every layer'}: it is no {dialect.word} form"
        )
    word, position = (source.tensors[name].shape for name in dialect.tables[:2])
    if len(word) != 2 or len(position) != 2:
        raise CheckpointError(f"{source.path}: tables of {list(word)} and {list(position)}, which have two dims")
    return {"num_layers": num_layers, "hidden_size": word[1], "vocab_size": word[0], "seq_length": position[0]}


def _heads(source: Source, model: Mapping[str, Any]) -> int:
    for preset in MODEL_PRESETS.values():
        if all(preset[key] == model[key] for key in ("num_layers", "hidden_size", "vocab_size")):
            return int(preset["num_heads"])
    raise ConfigError(
        f"{source.path} does not say how many attention heads its {model['num_layers']} layers of "
        f"{model['hidden_size']} have, and no published network is of that size: add model.num_heads=N"
    )


def _require(source: Source, model: ModelConfig) -> None:
    expected = source.dialect.shapes(model)
    found = {name: tensor.shape for name, tensor in source.tensors.items()}
    wrong = [
        f"{name} {list(found[name])}, in this network {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    problems = [
        f"{words} {', '.join(names[:_MAX_NAMES])}{f' and {len(names) - _MAX_NAMES} more' if names[_MAX_NAMES:] else ''}"
        for words, names in (
            ("it lacks", [name for name in expected if name not in found]),
            ("not used:", [name for name in found if name not in expected]),
            ("of another shape:", wrong),
        )
        if names
    ]
    if problems:
        raise CheckpointError(
            f"{source.path} is not {source.dialect.word} weights of {model.num_layers} layers of {model.hidden_size}: "
            f"{'; '.join(problems)}"
        )
