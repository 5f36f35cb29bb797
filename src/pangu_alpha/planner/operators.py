"""Every operator of the network on one device, for one micro-batch: its operations and the bytes that it moves.

Operations are those of matrix products, 2 for each term of a sum, exactly as a compiled program has them
(`program/operations.py` counts them there). All other operators compute less than they move, so that their bytes
decide; they are counted one by one, as our Cells write them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pangu_alpha.config import RunConfig
from pangu_alpha.planner.activations import Sizes
from pangu_alpha.planner.memory import StageState, stage_recipes

Part = Literal["embedding", "layer", "head"]


@dataclass(frozen=True)
class Operator:
    """One operator."""

    name: str
    """Its place in the sharding table."""
    forward_flops: int
    forward_bytes: int
    backward_flops: int
    backward_bytes: int
    is_recomputed: bool = False
    """Whether the backward pass makes its forward again."""

    @property
    def is_product(self) -> bool:
        """Whether it multiplies matrices."""
        return self.forward_flops > 0


def operators(config: RunConfig) -> dict[Part, tuple[Operator, ...]]:
    """Those of the embedding, of one layer (the query layer has the same) and of all that is above the layers."""
    sizes = Sizes(config)
    return {
        "embedding": tuple(_embedding(sizes)),
        "layer": tuple(_layer(sizes)),
        "head": tuple(_head(sizes)),
    }


def num_forwards(config: RunConfig) -> int:
    """How often a program makes the forward pass of a micro-batch, what the backward pass makes again not counted.

    With one rank and several micro-batches MindSpore makes it for the loss and once more for the gradients: it does not
    see there that they are one.
    """
    return 2 if config.parallel.num_devices == 1 and config.train.num_micro_batches > 1 else 1


def step_flops(config: RunConfig, states: Sequence[StageState]) -> tuple[int, ...]:
    """Operations of the products that a device of each stage makes in one step, those that are made again included."""
    recipes, forwards = stage_recipes(config), num_forwards(config)
    flops = {
        (kind, part): sum(item.forward_flops * (forwards + item.is_recomputed) + item.backward_flops for item in made)
        for kind, recipe in {recipe.parallel.rematerialisation: recipe for recipe in recipes}.items()
        for part, made in operators(recipe).items()
    }
    kinds, last = [recipe.parallel.rematerialisation for recipe in recipes], len(states) - 1
    return tuple(
        config.train.num_micro_batches
        * (state.num_layers * flops[kind, "layer"] + (flops[kind, "head"] if stage == last else 0))
        for stage, (state, kind) in enumerate(zip(states, kinds, strict=True))
    )


def _product(name: str, rows: int, summed: int, columns: int, number: int, c: int, again: bool) -> Operator:
    """`number` products [rows, summed] · [summed, columns]; the backward pass has two of them for each."""
    flops = 2 * number * rows * summed * columns
    moved = c * number * (rows * summed + summed * columns + rows * columns)
    return Operator(name, flops, moved, 2 * flops, 2 * moved, again)


def _moves(name: str, elements: int, forward: int, backward: int, again: bool) -> Operator:
    """An operator that moves `forward` bytes an element forward, and `backward` bytes backward."""
    return Operator(name, 0, forward * elements, 0, backward * elements, again)


def _layer(sizes: Sizes) -> Iterator[Operator]:
    config, c = sizes.config, sizes.compute_bytes
    whole = config.parallel.rematerialisation == "whole"
    cheap = config.parallel.rematerialisation != "none"
    d, mp, rows = config.model.hidden_size, config.parallel.mp, sizes.rows
    heads, length, head = sizes.samples * config.model.num_heads // mp, config.model.seq_length, config.model.head_size
    yield from _norm("layer.attention_norm", sizes, cheap)
    for name in ("query", "key", "value"):
        yield _product(f"layer.attention.{name}.matmul", rows, d, d // mp, 1, c, whole)
        yield _moves(f"layer.attention.{name}.add", sizes.columns, 2 * c, c, whole)
        yield _moves(f"layer.attention.split_heads.{name}", sizes.columns, 2 * c, 2 * c, whole)
    yield _moves("layer.attention.scale", sizes.columns, 2 * c, 2 * c, cheap)
    yield _product("layer.attention.scores", length, head, length, heads, c, whole)
    yield from _cast("layer.attention.cast_scores", sizes, sizes.attention, whole)
    yield _moves("layer.attention.add_mask", sizes.attention, 8, 0, cheap)
    yield _moves("layer.attention.softmax", sizes.attention, 8, 12, cheap)
    yield from _cast("layer.attention.cast_weights", sizes, sizes.attention, whole)
    yield from _dropout("layer.attention.weights_dropout", sizes, sizes.attention, cheap)
    yield _product("layer.attention.weighted_sum", length, length, head, heads, c, whole)
    yield _moves("layer.attention.merge_heads", sizes.columns, 2 * c, 2 * c, whole)
    # With several slices the result that is kept is that of their sum, and the product before it is not made again.
    yield _product("layer.attention.output.matmul", rows, d // mp, d, 1, c, whole and mp == 1)
    yield _moves("layer.attention.output.add", sizes.hidden, 2 * c, c, whole)
    yield from _dropout("layer.attention_dropout", sizes, sizes.hidden, cheap)
    yield _moves("layer.add_attention", sizes.hidden, 3 * c, 3 * c, whole)
    yield from _norm("layer.feed_forward_norm", sizes, cheap)
    yield _product("layer.feed_forward.expand.matmul", rows, d, 4 * d // mp, 1, c, whole)
    yield _moves("layer.feed_forward.expand.add", sizes.inner, 2 * c, c, whole)
    if config.model.gelu == "erf":  # five operators, of which the last reads two results; and their gradients
        yield _moves("layer.feed_forward.gelu", sizes.inner, 11 * c, 16 * c, cheap)
    else:
        yield _moves("layer.feed_forward.gelu.gelu", sizes.inner, 2 * c, 3 * c, cheap)
    yield _product("layer.feed_forward.contract.matmul", rows, 4 * d // mp, d, 1, c, False)
    yield _moves("layer.feed_forward.contract.add", sizes.hidden, 2 * c, c, False)
    yield from _dropout("layer.feed_forward_dropout", sizes, sizes.hidden, False)
    yield _moves("layer.add_feed_forward", sizes.hidden, 3 * c, 3 * c, False)


def _embedding(sizes: Sizes) -> Iterator[Operator]:
    yield _moves("embedding.word.gather", sizes.whole_hidden, 8, 12, False)
    yield _moves("embedding.position.gather", sizes.hidden, 8, 12, False)
    yield _moves("embedding.add", sizes.hidden, 12, 8, False)
    yield from _cast("embedding.cast", sizes, sizes.hidden, False)
    yield from _dropout("embedding.dropout", sizes, sizes.hidden, False)


def _head(sizes: Sizes) -> Iterator[Operator]:
    c, d = sizes.compute_bytes, sizes.config.model.hidden_size
    yield from _norm("final_norm", sizes, False)
    yield from _cast("head.cast", sizes, sizes.table, False)
    yield _product("head.matmul", sizes.rows, d, sizes.vocabulary, 1, c, False)
    yield from _cast("token_loss.cast", sizes, sizes.logits, False)
    yield _moves("token_loss.max", sizes.logits, 4, 0, False)
    yield _moves("token_loss.subtract", sizes.logits, 8, 4, False)
    yield _moves("token_loss.exp", sizes.logits, 8, 12, False)
    yield _moves("token_loss.sum", sizes.logits, 4, 4, False)
    yield _moves("token_loss.pick", sizes.rows, 8, 8, False)
    yield _moves("token_loss.add_gradients", sizes.logits, 0, 12, False)


def _cast(name: str, sizes: Sizes, elements: int, again: bool) -> Iterator[Operator]:
    """Between float32 and the compute type; nothing where that is float32."""
    if sizes.config.model.compute_dtype != "float32":
        moved = 4 + sizes.compute_bytes
        yield _moves(name, elements, moved, moved, again)


def _norm(name: str, sizes: Sizes, again: bool) -> Iterator[Operator]:
    yield from _cast(f"{name}.casts", sizes, 2 * sizes.hidden, again)
    yield _moves(f"{name}.normalise.layer_norm", sizes.hidden, 8, 12, again)


def _dropout(name: str, sizes: Sizes, elements: int, again: bool) -> Iterator[Operator]:
    if sizes.config.model.dropout:
        c = sizes.compute_bytes
        yield _moves(f"{name}.hash", elements, 4, 0, again)
        yield _moves(f"{name}.keep", elements, 5 + 1 + c, 0, again)
        yield _moves(f"{name}.mask", elements, 3 * c, 3 * c, again)
        yield _moves(f"{name}.scale", elements, 2 * c, 2 * c, again)
