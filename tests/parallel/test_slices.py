from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pangu_alpha.config import ParallelConfig, load_config
from pangu_alpha.parallel.memory import parameter_shapes
from pangu_alpha.parallel.slices import WORD_TABLE, is_kept_whole, norm_shares, num_slices, num_table_rows, row_name
from pangu_alpha.parallel.table import PARAMETERS, sizes
from pangu_alpha.topology.mesh import Mesh

SMALL = "model={num_layers: 3, hidden_size: 16, num_heads: 4, vocab_size: 50, seq_length: 8}"


def held_slices(whole: NDArray[np.float64], name: str, parallel: ParallelConfig) -> list[NDArray[np.float64]]:
    """What each rank of a stage holds, cut by hand: as the table says, and dim 0 once more over dp if sharded."""
    cuts = sizes(PARAMETERS[row_name(name)], Mesh.of(parallel))
    pieces = []
    for replica in range(parallel.dp):
        for number in range(parallel.mp):
            piece = whole
            for dim, parts in enumerate(cuts):
                piece = np.split(piece, parts, dim)[number if parts > 1 else 0]
            if parallel.optimizer_sharding and not is_kept_whole(name) and len(piece) % parallel.dp == 0:
                piece = np.split(piece, parallel.dp)[replica]
            pieces.append(piece)
    return pieces


def shapes_of(parallel: ParallelConfig) -> dict[str, tuple[int, ...]]:
    model = load_config("tiny_cpu", [SMALL, "model.final_norm=before_query_layer"]).model
    return parameter_shapes(model, parallel.mp)


MESHES = [(dp, mp, sharded) for dp, mp in ((1, 1), (2, 1), (1, 4), (2, 2), (3, 2)) for sharded in (False, True)]


@pytest.mark.parametrize(("dp", "mp", "sharded"), MESHES)
def test_all_ranks_shares_count_each_gradient_once(dp: int, mp: int, sharded: bool) -> None:
    parallel = ParallelConfig(dp=dp, mp=mp, optimizer_sharding=sharded)
    shapes = shapes_of(parallel)
    generator = np.random.default_rng(0)
    for (name, shape), share in zip(shapes.items(), norm_shares(shapes, parallel, stage=0), strict=True):
        whole = generator.standard_normal(shape)
        total = sum(share * float(np.sum(piece**2)) for piece in held_slices(whole, name, parallel))
        assert total == pytest.approx(float(np.sum(whole**2)), rel=1e-12), name


def test_the_last_stages_copy_of_the_word_table_does_not_count() -> None:
    parallel = ParallelConfig(dp=2, mp=2, pp=2)
    shapes = shapes_of(parallel)
    first, last = (dict(zip(shapes, norm_shares(shapes, parallel, stage), strict=True)) for stage in (0, 1))
    assert {name for name in shapes if first[name] != last[name]} == {WORD_TABLE}
    assert (first[WORD_TABLE], last[WORD_TABLE]) == (0.5, 0.0)


@pytest.mark.parametrize(("dp", "mp", "sharded"), MESHES)
def test_slices_are_counted_as_they_are_cut(dp: int, mp: int, sharded: bool) -> None:
    parallel = ParallelConfig(dp=dp, mp=mp, optimizer_sharding=sharded)
    for name, shape in shapes_of(parallel).items():
        numbers = np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
        different = {piece.tobytes() for piece in held_slices(numbers, name, parallel)}
        assert num_slices(name, shape, parallel) == len(different), name


@pytest.mark.parametrize(
    ("name", "shape", "number"),
    [
        ("layers.3.attention.query.weight", (16, 16), 8),  # columns over mp, rows over dp
        ("query_layer.attention.output.weight", (16, 16), 8),  # rows over both
        ("layers.0.feed_forward.expand.bias", (64,), 8),
        ("layers.0.feed_forward.expand.bias", (12,), 4),  # 3 a slice, which dp 2 does not divide
        ("layers.0.attention.output.bias", (16,), 1),
        ("layers.0.attention_norm.gamma", (16,), 1),
        ("embedding.word.table", (52, 16), 4),
        ("embedding.position.table", (8, 16), 1),
        ("query_layer.top_query.table", (8, 16), 1),
    ],
)
def test_slices_by_hand(name: str, shape: Sequence[int], number: int) -> None:
    assert num_slices(name, shape, ParallelConfig(dp=2, mp=4, pp=2, optimizer_sharding=True)) == number


def test_what_the_released_code_leaves_out_of_optimizer_sharding() -> None:
    assert {name for name in PARAMETERS if is_kept_whole(name)} == {
        *("embedding.word.table", "embedding.position.table", "layer.top_query.table"),
        *(f"{norm}.{part}" for norm in ("layer.attention_norm", "layer.feed_forward_norm", "final_norm")
          for part in ("gamma", "beta")),
        *("layer.attention.output.bias", "layer.feed_forward.contract.bias"),
    }  # fmt: skip


@pytest.mark.parametrize(("words", "mp", "rows"), [(40000, 8, 40000), (129, 2, 130), (50, 4, 52), (7, 8, 8), (5, 1, 5)])
def test_padding_by_hand(words: int, mp: int, rows: int) -> None:
    assert num_table_rows(words, mp) == rows


@given(words=st.integers(2, 200_000), mp=st.integers(1, 64))
def test_padding_is_the_least_that_divides(words: int, mp: int) -> None:
    rows = num_table_rows(words, mp)
    assert rows % mp == 0
    assert words <= rows < words + mp


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("network.layers.12.mask.both", "layer.mask.both"),
        ("layers.0.attention.query.weight", "layer.attention.query.weight"),
        ("network.query_layer.attention.scores", "layer.attention.scores"),
        ("query_layer.top_query.table", "layer.top_query.table"),
        ("network.embedding.word.gather", "embedding.word.gather"),
        ("token_loss.total", "token_loss.total"),
    ],
)
def test_row_names(place: str, name: str) -> None:
    assert row_name(place) == name
