"""Which boxes ranks hold and write, beside slices cut by hand."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pangu_alpha.config import ModelConfig, ParallelConfig, load_config
from pangu_alpha.errors import LayoutError
from pangu_alpha.parallel.parameters import (
    MOMENTS,
    WORD_TABLE,
    parameter_name,
    parameter_names,
    parameter_shapes,
    row_of,
)
from pangu_alpha.parallel.parts import (
    Box,
    Part,
    cut,
    cutting_axes,
    held_parts,
    held_tensors,
    join,
    norm_shares,
    num_parts,
    owned_boxes,
    part,
    sharers,
    without_padding,
)
from pangu_alpha.parallel.table import sizes
from pangu_alpha.topology.mesh import Mesh

SMALL = "model={num_layers: 3, hidden_size: 16, num_heads: 4, vocab_size: 50, seq_length: 8}"
MODEL = load_config("tiny_cpu", [SMALL, "model.final_norm=before_query_layer"]).model
MESHES = [(dp, mp, sharded) for dp, mp in ((1, 1), (2, 1), (1, 4), (2, 2), (3, 2)) for sharded in (False, True)]


def pieces_by_hand(whole: NDArray[np.float64], name: str, parallel: ParallelConfig) -> list[NDArray[np.float64]]:
    """What each rank of a stage holds: cut as the table says, and dim 0 once more over dp if sharded."""
    cuts = sizes(row_of(name).cut, Mesh.of(parallel))
    pieces = []
    for replica in range(parallel.dp):
        for number in range(parallel.mp):
            piece = whole
            for dim, parts in enumerate(cuts):
                piece = np.split(piece, parts, dim)[number if parts > 1 else 0]
            if parallel.optimizer_sharding and not row_of(name).is_kept_whole and len(piece) % parallel.dp == 0:
                piece = np.split(piece, parallel.dp)[replica]
            pieces.append(piece)
    return pieces


@pytest.mark.parametrize(("dp", "mp", "sharded"), MESHES)
def test_parts_are_cut_as_by_hand(dp: int, mp: int, sharded: bool) -> None:
    parallel = ParallelConfig(dp=dp, mp=mp, optimizer_sharding=sharded)
    for name, shape in parameter_shapes(MODEL, mp).items():
        whole = np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
        by_hand = pieces_by_hand(whole, name, parallel)
        held = {rank: part(name, MODEL, parallel, rank) for rank in range(dp * mp)}
        for rank, one in held.items():
            np.testing.assert_array_equal(cut(name, whole, one), by_hand[rank], err_msg=name)
        assert num_parts(name, MODEL, parallel) == len({piece.tobytes() for piece in by_hand}), name
        np.testing.assert_array_equal(join(name, {rank: (held[rank], by_hand[rank]) for rank in held}), whole)


@pytest.mark.parametrize(("dp", "mp", "sharded"), MESHES)
def test_all_ranks_shares_count_each_gradient_once(dp: int, mp: int, sharded: bool) -> None:
    parallel = ParallelConfig(dp=dp, mp=mp, optimizer_sharding=sharded)
    names = parameter_names(MODEL)
    shapes = parameter_shapes(MODEL, mp)
    generator = np.random.default_rng(0)
    for name, share in zip(names, norm_shares(names, MODEL, parallel, stage=0), strict=True):
        whole = generator.standard_normal(shapes[name])
        total = sum(share * float(np.sum(piece**2)) for piece in pieces_by_hand(whole, name, parallel))
        assert total == pytest.approx(float(np.sum(whole**2)), rel=1e-12), name


def test_the_last_stages_copy_of_the_word_table_does_not_count() -> None:
    parallel = ParallelConfig(dp=2, mp=2, pp=2)
    assert norm_shares([WORD_TABLE], MODEL, parallel, stage=0) == [0.5]
    assert norm_shares([WORD_TABLE], MODEL, parallel, stage=1) == [0.0]


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("layers.0.attention.query.weight", (("dp",), ("mp",))),  # columns over mp, rows over dp
        ("query_layer.attention.output.weight", (("mp", "dp"), ())),  # rows over both
        ("layers.1.feed_forward.expand.bias", (("mp", "dp"),)),
        ("layers.0.attention.output.bias", ((),)),
        ("layers.0.attention_norm.gamma", ((),)),
        (WORD_TABLE, (("mp",), ())),
        ("embedding.position.table", ((), ())),
        ("query_layer.top_query.table", ((), ())),
    ],
)
def test_cuts_by_hand(name: str, axes: tuple[tuple[str, ...], ...]) -> None:
    parallel = ParallelConfig(dp=2, mp=4, pp=2, optimizer_sharding=True)
    assert cutting_axes(name, MODEL, parallel) == cutting_axes(f"adam_m.{name}", MODEL, parallel) == axes


def test_what_the_replicas_do_not_divide_is_not_sharded() -> None:
    # 16 rows over mp 4 are 4 a rank, which dp 3 does not divide.
    parallel = ParallelConfig(dp=3, mp=4, optimizer_sharding=True)
    assert cutting_axes("layers.0.attention.output.weight", MODEL, parallel) == (("mp",), ())


def test_the_padding_of_the_word_table_is_no_ranks() -> None:
    # 50 rows are padded to 52, 13 a slice; the last slice has 11.
    parallel = ParallelConfig(mp=4)
    held = part(WORD_TABLE, MODEL, parallel, 3)
    assert held == Part((52, 16), Box((39, 0), (13, 16)))
    assert without_padding(WORD_TABLE, held, MODEL) == Box((39, 0), (11, 16))
    moment = part(f"adam_v.{WORD_TABLE}", MODEL, parallel, 0)
    assert without_padding(f"adam_v.{WORD_TABLE}", moment, MODEL) == Box((0, 0), (13, 16))


MANY = [
    ParallelConfig(),
    ParallelConfig(dp=2, mp=2, pp=2, optimizer_sharding=True),
    ParallelConfig(dp=4, pp=3),
    ParallelConfig(dp=2, mp=4, pp=1, optimizer_sharding=True),
]


@pytest.mark.parametrize("parallel", MANY, ids=lambda parallel: str(Mesh.of(parallel)))
def test_every_element_is_written_by_one_rank_that_holds_it(parallel: ParallelConfig) -> None:
    names = [prefix + name for name in parameter_names(MODEL) for prefix in ("", *MOMENTS)]
    times = {name: np.zeros(row_of(name).shape(MODEL), np.int64) for name in names}
    for rank in range(parallel.num_devices):
        held = held_parts(MODEL, parallel, rank)
        for name, box in owned_boxes(MODEL, parallel, rank).items():
            assert without_padding(name, held[parameter_name(name)], MODEL) == box
            times[name][box.index] += 1
    assert all((count == 1).all() for count in times.values())


def test_replicas_share_the_writing_of_large_boxes() -> None:
    model: ModelConfig = load_config("13b").model
    parallel = ParallelConfig(dp=8, mp=8)
    load: Counter[int] = Counter()
    writers: Counter[int] = Counter()
    for rank in range(64):
        for box in owned_boxes(model, parallel, rank).values():
            load[rank] += box.num_elements
            writers[rank] += box.num_elements < 1 << 18
    assert len(load) == 64
    assert max(load.values()) < 1.1 * min(load.values())
    assert set(+writers) <= set(range(8))  # small ones are the first replica's: few files hold them


def test_the_plan_of_2048_ranks_takes_under_a_second_a_rank() -> None:
    import time

    config = load_config("200b_2048")
    begin = time.process_time()
    assert len(owned_boxes(config.model, config.parallel, 2047)) > 100
    assert time.process_time() - begin < 1.0


boxes = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=2).map(
    lambda dims: Box(tuple(begin for begin, _ in dims), tuple(size for _, size in dims))
)


@given(first=boxes, second=boxes)
def test_an_intersection_holds_what_both_hold(first: Box, second: Box) -> None:
    marks = np.zeros((12, 12), np.int64)
    marks[first.index] += 1
    marks[second.index] += 1
    both = first.intersect(second)
    assert both.num_elements == (marks == 2).sum()
    if both.num_elements:
        assert (marks[both.index] == 2).all()
        inside = np.arange(144).reshape(12, 12)[first.index][both.index_in(first)]
        np.testing.assert_array_equal(inside, np.arange(144).reshape(12, 12)[both.index])


def test_cut_copies() -> None:
    full = np.arange(24.0).reshape(4, 6)
    one = Part((4, 6), Box((0, 3), (4, 3)))
    piece = cut("weight", full, one)
    piece[:] = 0
    assert full[0, 3] == 3.0
    with pytest.raises(LayoutError, match=r"weight has the shape \[4, 5\], the layout says \[4, 6\]"):
        cut("weight", full[:, :5], one)


def test_copies_that_differ_and_holes_are_found() -> None:
    whole = Part.all_of((2, 2))
    nan = np.array([[np.nan, 1], [2, 3]])
    np.testing.assert_array_equal(join("scale", {0: (whole, nan), 5: (whole, nan.copy())}), nan)
    with pytest.raises(LayoutError, match=r"scale is not the same on ranks 0 and 5, .*: 1 of 4 elements differ"):
        join("scale", {0: (whole, nan), 5: (whole, np.nextafter(nan, np.array([[0, 1], [2, 9]])))})
    with pytest.raises(LayoutError, match="no rank holds 2 of its 4 elements"):
        join("scale", {0: (Part((2, 2), Box((0, 0), (1, 2))), nan[:1])})
    with pytest.raises(LayoutError, match=r"rank 1 says its shape is \[3, 2\], others \[2, 2\]"):
        join("scale", {0: (whole, nan), 1: (Part.all_of((3, 2)), np.zeros((3, 2)))})


def test_sharers_are_told_apart_by_who_holds_the_same() -> None:
    """On every mesh: two ranks have a key in common exactly where they hold the same parts of its tensors."""
    for parallel in (ParallelConfig(dp=2, mp=2, pp=2, optimizer_sharding=True), ParallelConfig(dp=2, mp=2)):
        model = MODEL
        ranks = range(parallel.num_devices)
        held = {rank: held_tensors(model, parallel, rank) for rank in ranks}
        shared = {rank: sharers(model, parallel, rank) for rank in ranks}
        for one, other in itertools.combinations(ranks, 2):
            for key in shared[one].keys() & shared[other].keys():
                assert shared[one][key] == shared[other][key]
                assert all(held[one][name] == held[other][name] for name in shared[one][key])
            alike = [name for name in held[one] if held[other].get(name) == held[one][name]]
            same_stage = Mesh.of(parallel).place(one).stage == Mesh.of(parallel).place(other).stage
            common = [name for key in shared[one].keys() & shared[other].keys() for name in shared[one][key]]
            assert sorted(common) == sorted(alike if same_stage else [])
