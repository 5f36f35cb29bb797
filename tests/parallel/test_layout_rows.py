from __future__ import annotations

from typing import Any

import pytest

from pangu_alpha.errors import LayoutError
from pangu_alpha.parallel.layout_rows import part_of, require_parts
from pangu_alpha.parallel.parts import Box, Part

GROUPS = {"2-77": (1, 3)}


def _row(tensor_map: list[int], full_shape: list[int], group: str = "") -> list[Any]:
    # As MindSpore writes it, for dp 2 × mp 2.
    return [[2, 2], tensor_map, [], 0, True, group, full_shape, [], False, False, 0, 0]


def test_the_parts_of_a_stage() -> None:
    # Columns over mp, the last axis of the matrix: ranks 0 and 2, 1 and 3 hold the same. Rank 6 is rank 2 of stage 1.
    begins = {rank: part_of("weight", _row([-1, 0], [4, 6]), rank, {}).box.begin for rank in (0, 1, 2, 3, 6)}
    assert begins == {0: (0, 0), 1: (0, 3), 2: (0, 0), 3: (0, 3), 6: (0, 0)}
    assert part_of("batch", _row([1, -1], [4, 6]), 6, {}) == Part((4, 6), Box((2, 0), (2, 6)))
    assert part_of("both", _row([1, 0], [4, 6]), 7, {}) == Part((4, 6), Box((2, 3), (2, 3)))


def test_the_optimizer_group_cuts_the_first_dim_once_more() -> None:
    part = part_of("weight", _row([0, -1], [8, 6], "2-77"), 3, GROUPS)
    assert part == Part((8, 6), Box((6, 0), (2, 6)))
    assert part.box.index == (slice(6, 8), slice(0, 6))


@pytest.mark.parametrize(
    ("row", "rank", "problem"),
    [
        (_row([0, -1], [7, 6]), 0, "7 in dim 0 cannot be cut into 2"),
        (_row([-1, -1], [8, 6], "2-99"), 0, "optimizer group 2-99 is not used"),
        (_row([-1, -1], [8, 6], "2-77"), 0, "optimizer group 2-77 is not used"),
    ],
)
def test_rows_that_do_not_fit(row: list[Any], rank: int, problem: str) -> None:
    with pytest.raises(LayoutError, match=problem):
        part_of("weight", row, rank, GROUPS)


HELD = {"weight": Part((8, 6), Box((6, 0), (2, 6))), "bias": Part((8,), Box((0,), (8,)))}
SHAPES = {"weight": (2, 6), "bias": (8,), "of another stage": (8, 6)}
LAYOUT = {"weight": _row([0, -1], [8, 6], "2-77"), "bias": _row([-1], [8])}


def test_a_rank_that_holds_what_the_table_says() -> None:
    require_parts(HELD, SHAPES, LAYOUT, 3, GROUPS)
    whole = {name: Part.all_of(part.whole) for name, part in HELD.items()}
    require_parts(whole, {"weight": (8, 6), "bias": (8,)}, {}, 0, {})


@pytest.mark.parametrize(
    ("held", "shapes", "layout", "problem"),
    [
        ({}, {"weight": (8, 6)}, {}, r"rank 3 holds \[6:8, 0:6\] of \[8, 6\] of weight, in the shape \[8, 6\]"),
        ({}, {}, {"weight": _row([0, -1], [8, 6])}, r"rank 3 holds \[4:8, 0:6\].*and \[6:8, 0:6\]"),
        ({}, {"moment": (8,)}, {"moment": _row([-1], [8])}, "moment is MindSpore's alone"),
        ({"moment": Part.all_of((8,))}, {}, {}, "moment is the table's alone"),
    ],
    ids=["a whole tensor in a slice", "another cut", "a tensor too many", "a tensor that is missing"],
)
def test_a_rank_that_holds_something_else(held: Any, shapes: Any, layout: Any, problem: str) -> None:
    with pytest.raises(LayoutError, match=problem):
        require_parts({**HELD, **held}, {**SHAPES, **shapes}, {**LAYOUT, **layout}, 3, GROUPS)
