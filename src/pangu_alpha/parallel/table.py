"""The sharding table: for every primitive of the network, which mesh axis splits which dim of which input.

A row is named after the primitive's place in the network, `layers.3.attention.query.matmul`, with the layer's number
left out and both kinds of layer called `layer`. An input is written as one entry a dim: the axis that splits it, `None`
for a dim that stays whole, or `ROWS`: the axis (or axes) that splits the rows [B·S] between the matrix products, which
is where operator-level and sequence-parallel tables differ (paper §3.2; released code, `official_code` strategies).

Cast and Reshape follow their input and have no row; any other primitive without one would be split by MindSpore over
all ranks, with communication that nobody asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from pangu_alpha.topology.mesh import Axis, Mesh

Split = Axis | tuple[Axis, ...] | None
"""What splits one dim."""
Dims = tuple[Split, ...]
"""One entry a dim; `()` is a scalar."""


@dataclass(frozen=True)
class PrimitiveRow:
    """How one primitive is split."""

    inputs: tuple[Dims, ...]
    output: Dims | None = None
    """Given where the result would be partial sums: how it is split after they are added up. `None`: as the inputs
    imply, with partial sums added up by an AllReduce."""
    summed: Dims = ()
    """What splits the dims that the primitive sums over or picks from: along these axes its results are partial."""
    gathers_rows: bool = False
    """Whether it needs all rows of an input that sequence parallelism has split over mp. Query, key and value share one
    gathered input, which MindSpore names after the value."""
    has_gradient: bool = True
    """Whether the backward pass goes through it, with the transpose of its communication."""
    is_recomputed: bool = False
    """Whether selective rematerialisation computes it again: attention's scores after their product, and elementwise
    functions. Matrix products and communication are kept."""
    gelu: Literal["tanh", "erf"] | None = None
    """The `model.gelu` that the primitive belongs to; None: every network has it."""
    stage: Literal["first", "own", "last"] = "own"
    """The pipeline stage that runs it; `own` is that of its layer, for each of the layers."""


FOLLOWERS = frozenset({"Cast", "Reshape"})
"""Kinds of primitives that are split as their input is."""

_TOKENS: Dims = ("dp", None)  # [B, S], and [B·S, anything] inside a tensor-parallel region
_IDS: Dims = ("dp",)  # [B·S]
_SCALAR: Dims = ()
_HEADS: Dims = ("dp", "mp", None, None)  # [B, heads, S, anything]


def row_name(place: str) -> str:
    """The tables' name for a place in the network: `network.layers.3.mask.both` → `layer.mask.both`."""
    return re.sub(r"^(layers\.\d+|query_layer)(?=\.|$)", "layer", place.removeprefix("network."))


def _same(
    dims: Dims, count: int, *, summed: Dims = (), has_gradient: bool = True, is_recomputed: bool = False
) -> PrimitiveRow:
    return PrimitiveRow((dims,) * count, summed=summed, has_gradient=has_gradient, is_recomputed=is_recomputed)


def sharding_table(sequence_parallel: bool) -> dict[str, PrimitiveRow]:
    """All rows, by name."""
    rows: Split = ("dp", "mp") if sequence_parallel else "dp"
    hidden: Dims = (rows, None)
    return {
        **_on("first", _embedding(hidden)),
        **_layer(hidden),
        **_on("last", _top(hidden)),
        **_on("last", _loss()),
    }


def _on(stage: Literal["first", "last"], rows: Mapping[str, PrimitiveRow]) -> dict[str, PrimitiveRow]:
    return {name: replace(row, stage=stage) for name, row in rows.items()}


def _embedding(hidden: Dims) -> dict[str, PrimitiveRow]:
    return {
        # The result is named, even where it follows from the inputs: otherwise MindSpore may scatter the sum over mp
        # and gather it again.
        "embedding.word.gather": PrimitiveRow((("mp", None), _IDS), output=hidden, summed=("mp",)),
        "embedding.position.gather": PrimitiveRow(((None, None), hidden[:1])),
        "embedding.add": _same(hidden, 2),
        **_dropout("embedding.dropout", hidden),
    }


def _layer(hidden: Dims) -> dict[str, PrimitiveRow]:
    pairs: Dims = ("dp", None, None)  # [B, S, S]
    return {
        "layer.mask.expand_documents": _same(_TOKENS, 1),
        "layer.mask.same_document": _same(pairs, 2),
        "layer.mask.not_after": _same((None, None, None), 2),
        "layer.mask.both": PrimitiveRow((pairs, (None, None, None))),
        "layer.mask.forbidden": _same(pairs, 1),
        "layer.mask.penalty": PrimitiveRow((pairs, _SCALAR)),
        "layer.mask.expand_pairs": _same(pairs, 1),
        **_norm("layer.attention_norm", hidden, is_recomputed=True),
        **_column_parallel("layer.attention.query"),
        **_column_parallel("layer.attention.key"),
        **_column_parallel("layer.attention.value", gathers_rows=True),
        "layer.attention.split_heads": _same(("dp", None, "mp", None), 1),
        "layer.attention.scale": PrimitiveRow((_HEADS, _SCALAR), is_recomputed=True),
        "layer.attention.scores": _same(_HEADS, 2),
        "layer.attention.add_mask": PrimitiveRow((_HEADS, ("dp", None, None, None)), is_recomputed=True),
        "layer.attention.softmax": _same(_HEADS, 1, is_recomputed=True),
        **_dropout("layer.attention.weights_dropout", _HEADS, is_recomputed=True),
        "layer.attention.weighted_sum": _same(_HEADS, 2),
        "layer.attention.merge_heads": _same(_HEADS, 1),
        **_row_parallel("layer.attention.output", hidden),
        **_dropout("layer.attention_dropout", hidden, is_recomputed=True),
        "layer.add_attention": _same(hidden, 2),
        **_norm("layer.feed_forward_norm", hidden, is_recomputed=True),
        **_column_parallel("layer.feed_forward.expand", gathers_rows=True),
        **_gelu("layer.feed_forward.gelu", ("dp", "mp")),
        **_row_parallel("layer.feed_forward.contract", hidden),
        **_dropout("layer.feed_forward_dropout", hidden, is_recomputed=True),
        "layer.add_feed_forward": _same(hidden, 2),
    }


def _top(hidden: Dims) -> dict[str, PrimitiveRow]:
    """What only the query layer has, and all above it but the loss."""
    return {
        "layer.top_query.gather": PrimitiveRow(((None, None), _IDS)),
        **_norm("final_norm", hidden),
        "head.matmul": PrimitiveRow((_TOKENS, ("mp", None)), gathers_rows=True),
    }


def _loss() -> dict[str, PrimitiveRow]:
    logits: Dims = ("dp", "mp")
    column: Dims = ("dp", None)  # [N, 1]
    return {
        "token_loss.exclude": PrimitiveRow((logits, (None, "mp"))),
        "token_loss.max": _same(logits, 1, summed=("mp",), has_gradient=False),
        "token_loss.subtract": PrimitiveRow((logits, column)),
        "token_loss.exp": _same(logits, 1),
        "token_loss.sum": _same(logits, 1, summed=("mp",)),
        "token_loss.log": _same(column, 1),
        "token_loss.add": _same(column, 2),
        "token_loss.pick": PrimitiveRow((logits, column), summed=("mp",)),
        "token_loss.loss": _same(column, 2),
        "token_loss.weigh": _same(column, 2),
        "token_loss.total": _same(column, 1, summed=column),
    }


def _column_parallel(name: str, *, gathers_rows: bool = False) -> dict[str, PrimitiveRow]:
    """x·W + b with the columns of W split: the result's columns are split."""
    return {
        f"{name}.matmul": PrimitiveRow((_TOKENS, (None, "mp")), gathers_rows=gathers_rows),
        f"{name}.add": PrimitiveRow((("dp", "mp"), ("mp",))),
    }


def _row_parallel(name: str, hidden: Dims) -> dict[str, PrimitiveRow]:
    """x·W + b with the rows of W and the columns of x split: partial sums, added up over mp."""
    return {
        f"{name}.matmul": PrimitiveRow((("dp", "mp"), ("mp", None)), output=hidden, summed=("mp",)),
        f"{name}.add": PrimitiveRow((hidden, (None,))),
    }


def _norm(name: str, hidden: Dims, *, is_recomputed: bool = False) -> dict[str, PrimitiveRow]:
    return {f"{name}.normalise.layer_norm": PrimitiveRow((hidden, (None,), (None,)), is_recomputed=is_recomputed)}


def _gelu(name: str, x: Dims) -> dict[str, PrimitiveRow]:
    rows = {
        f"{name}.shrink": PrimitiveRow((x, _SCALAR)),
        f"{name}.erf": PrimitiveRow((x,)),
        f"{name}.add_one": PrimitiveRow((x, _SCALAR)),
        f"{name}.halve": PrimitiveRow((x, _SCALAR)),
        f"{name}.multiply": PrimitiveRow((x, x)),
    }
    return {
        f"{name}.gelu": PrimitiveRow((x,), is_recomputed=True, gelu="tanh"),
        **{place: replace(row, is_recomputed=True, gelu="erf") for place, row in rows.items()},
    }


def _dropout(name: str, x: Dims, *, is_recomputed: bool = False) -> dict[str, PrimitiveRow]:
    number: Dims = ("dp", None)  # a hash for each row of a sample, [B, rows]
    row_hash: Dims = (*x[:-1], None)
    return {
        f"{name}.number_rows": PrimitiveRow((number, (None, None))),
        f"{name}.mix.shift": PrimitiveRow((number, _SCALAR)),
        f"{name}.mix.keep_low_bits": PrimitiveRow((number, _SCALAR)),
        f"{name}.mix.fold": _same(number, 2),
        f"{name}.mix.multiply": PrimitiveRow((number, _SCALAR)),
        f"{name}.make_odd": PrimitiveRow((number, _SCALAR)),
        f"{name}.hash": PrimitiveRow((row_hash, (None, x[-1])), is_recomputed=is_recomputed),
        f"{name}.keep": PrimitiveRow((x, _SCALAR), is_recomputed=is_recomputed),
        f"{name}.mask": _same(x, 2, is_recomputed=is_recomputed),
        f"{name}.scale": PrimitiveRow((x, _SCALAR), is_recomputed=is_recomputed),
    }


def sizes(dims: Dims, mesh: Mesh) -> tuple[int, ...]:
    """In how many parts each dim is cut: what MindSpore calls a strategy."""
    return tuple(_size(split, mesh) for split in dims)


def _size(split: Split, mesh: Mesh) -> int:
    if split is None:
        return 1
    product = 1
    for axis in (split,) if isinstance(split, str) else split:
        product *= mesh.size(axis)
    return product
