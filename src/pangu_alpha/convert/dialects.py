"""What the weights are called elsewhere: a table a dialect, beside the rows of `parallel/parameters.py`.

A name inside a layer is what follows the layer's prefix. Matrices are [in, out] here, and transposed where a dialect
keeps them as [out, in].
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pangu_alpha.config import ModelConfig
from pangu_alpha.parallel.parameters import PARAMETERS, Shape, parameter_names, row_of
from pangu_alpha.parallel.table import row_name

Word = Literal["released", "huggingface-imone", "huggingface-sunzeyeah", "megatron"]
_PRODUCTS = (
    "attention.query",
    "attention.key",
    "attention.value",
    "attention.output",
    "feed_forward.expand",
    "feed_forward.contract",
)
_NORMS = ("attention_norm", "feed_forward_norm")


@dataclass(frozen=True)
class Place:
    """Where one of our parameters is in a dialect."""

    name: str
    is_transposed: bool

    def shape(self, ours: Shape) -> Shape:
        """Its shape there."""
        return ours[::-1] if self.is_transposed else ours


@dataclass(frozen=True)
class Dialect:
    """How one program names and keeps the weights."""

    word: Word
    layer: str
    """Prefix of a layer, with `{}` for its number."""
    query_layer: str
    """Prefix of the query layer, with `{}` for the number after that of the last layer, if it has one."""
    inside: tuple[str, ...]
    """Names in a layer of `_PRODUCTS`, then of `_NORMS`."""
    norm_parts: tuple[str, str]
    """What gamma and beta are called."""
    final_norm: str
    tables: tuple[str, str, str]
    """Names of the word, position and top-query tables."""
    transposed: tuple[bool, ...]
    """Of each of `_PRODUCTS`."""
    gelu: Literal["tanh", "erf"]
    """Of the network that the dialect's program computes."""
    ignored: re.Pattern[str]
    """Names of what lies beside the weights and is none."""

    def rows(self) -> dict[str, Place]:
        """The table: our row in `parallel/parameters.py` → the name there, without the prefix of a layer."""
        word, position, top_query = self.tables
        gamma, beta = self.norm_parts
        rows = {
            "embedding.word.table": Place(word, False),
            "embedding.position.table": Place(position, False),
            "layer.top_query.table": Place(top_query, False),
            "final_norm.gamma": Place(f"{self.final_norm}.{gamma}", False),
            "final_norm.beta": Place(f"{self.final_norm}.{beta}", False),
        }
        products = zip(_PRODUCTS, self.inside, self.transposed, strict=False)
        for ours, theirs, is_transposed in products:
            rows[f"layer.{ours}.weight"] = Place(f"{theirs}.weight", is_transposed)
            rows[f"layer.{ours}.bias"] = Place(f"{theirs}.bias", False)
        for ours, theirs in zip(_NORMS, self.inside[len(_PRODUCTS) :], strict=True):
            rows[f"layer.{ours}.gamma"] = Place(f"{theirs}.{gamma}", False)
            rows[f"layer.{ours}.beta"] = Place(f"{theirs}.{beta}", False)
        return {name: rows[name] for name in PARAMETERS}

    def places(self, model: ModelConfig) -> dict[str, Place]:
        """Every parameter of the network → where it is there."""
        rows = self.rows()
        places = {}
        for name in parameter_names(model):
            place = rows[row_name(name)]
            if row_name(name).startswith("layer.") and not name.endswith("top_query.table"):
                cell, number, *_ = name.split(".")
                prefix = self.query_layer.format(model.num_layers - 1)
                if cell == "layers":
                    prefix = self.layer.format(number)
                place = Place(prefix + place.name, place.is_transposed)
            places[name] = place
        return places

    def shapes(self, model: ModelConfig) -> dict[str, Shape]:
        """The names there → their shapes."""
        return {place.name: place.shape(row_of(name).shape(model)) for name, place in self.places(model).items()}

    def num_layers(self, names: list[str]) -> int:
        """Layers of the network with these names, the query layer included; 0 if there are none."""
        pattern = re.compile(re.escape(self.layer).replace(r"\{\}", r"(\d+)"))
        numbers = {int(found[1]) for name in names if (found := pattern.match(name))}
        return max(numbers, default=-1) + 1 + (self.query_layer != self.layer) if numbers else 0


_RELEASED = Dialect(
    word="released",
    layer="backbone.blocks.{}.",
    query_layer="backbone.top_query_layer.",
    inside=(
        "attention.dense1",
        "attention.dense2",
        "attention.dense3",
        "attention.projection",
        "output.mapping",
        "output.projection",
        "layernorm1",
        "layernorm2",
    ),
    norm_parts=("gamma", "beta"),
    final_norm="backbone.layernorm",
    tables=(
        "backbone.word_embedding.embedding_table",
        "backbone.position_embedding.embedding_table",
        "backbone.top_query_embedding.embedding_table",
    ),
    transposed=(True, True, True, False, False, False),
    gelu="tanh",
    ignored=re.compile(
        r"(adam_[mv]|accu_grads|moment[12]|moments)\..*|(global|current_iterator|last_overflow_iterator)_step|"
        r"(epoch|step)_num|learning_rate|scale_sense|loss_scale|beta[12]_power"
    ),
)


def _huggingface(word: Word, output: str) -> Dialect:
    return Dialect(
        word=word,
        layer="transformer.h.{}.",
        query_layer="transformer.h.{}.",
        inside=("attn.q_proj", "attn.k_proj", "attn.v_proj", output, "mlp.c_fc", "mlp.c_proj", "ln_1", "ln_2"),
        norm_parts=("weight", "bias"),
        final_norm="transformer.ln_f",
        tables=("transformer.wte.weight", "transformer.wpe.weight", "transformer.wqe.weight"),
        transposed=(True,) * 6,
        gelu="erf",
        ignored=re.compile(r"transformer\.h\.\d+\.attn\.(bias|masked_bias)"),
    )


_IMONE = _huggingface("huggingface-imone", "attn.out_proj")
_SUNZEYEAH = _huggingface("huggingface-sunzeyeah", "attn.c_proj")
_MEGATRON = Dialect(
    word="megatron",
    layer="language_model.transformer.layers.{}.",
    query_layer="language_model.transformer.topQueryLayer.",
    inside=(
        "attention.query",
        "attention.key",
        "attention.value",
        "attention.dense",
        "mlp.dense_h_to_4h",
        "mlp.dense_4h_to_h",
        "input_layernorm",
        "post_attention_layernorm",
    ),
    norm_parts=("weight", "bias"),
    final_norm="language_model.transformer.final_layernorm",
    tables=(
        "language_model.embedding.word_embeddings.weight",
        "language_model.embedding.position_embeddings.weight",
        "language_model.topQueryEmbedding.top_query_embeddings.weight",
    ),
    transposed=(True,) * 6,
    gelu="erf",
    ignored=re.compile(r"$^"),
)
DIALECTS: Mapping[str, Dialect] = {item.word: item for item in (_RELEASED, _IMONE, _SUNZEYEAH, _MEGATRON)}
"""All of them, by the word of `--from` and `--to`."""
