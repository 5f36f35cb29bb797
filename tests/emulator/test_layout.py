from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pangu_alpha.emulator.layout import Part, cut, join, part_of
from pangu_alpha.errors import EmulatorError

GROUPS = {"2-77": (1, 3)}


def _row(tensor_map: list[int], full_shape: list[int], group: str = "") -> list[Any]:
    # As MindSpore writes it, for dp 2 × mp 2.
    return [[2, 2], tensor_map, [], 0, True, group, full_shape, [], False, False, 0, 0]


def test_the_parts_of_a_stage() -> None:
    # Columns over mp, the last axis of the matrix: ranks 0 and 2, 1 and 3 hold the same. Rank 6 is rank 2 of stage 1.
    begins = {rank: part_of("weight", _row([-1, 0], [4, 6]), rank, {}).begin for rank in (0, 1, 2, 3, 6)}
    assert begins == {0: (0, 0), 1: (0, 3), 2: (0, 0), 3: (0, 3), 6: (0, 0)}
    assert part_of("batch", _row([1, -1], [4, 6]), 6, {}) == Part((4, 6), (2, 0), (2, 6))
    assert part_of("both", _row([1, 0], [4, 6]), 7, {}) == Part((4, 6), (2, 3), (2, 3))


def test_the_optimizer_group_cuts_the_first_dim_once_more() -> None:
    part = part_of("weight", _row([0, -1], [8, 6], "2-77"), 3, GROUPS)
    assert part == Part((8, 6), (6, 0), (2, 6))
    assert part.index == (slice(6, 8), slice(0, 6))


@pytest.mark.parametrize(
    ("row", "rank", "problem"),
    [
        (_row([0, -1], [7, 6]), 0, "7 in dim 0 cannot be cut into 2"),
        (_row([-1, -1], [8, 6], "2-99"), 0, "optimizer group 2-99 is not used"),
        (_row([-1, -1], [8, 6], "2-77"), 0, "optimizer group 2-77 is not used"),
    ],
)
def test_rows_that_do_not_fit(row: list[Any], rank: int, problem: str) -> None:
    with pytest.raises(EmulatorError, match=problem):
        part_of("weight", row, rank, GROUPS)


def test_cut_copies_and_join_puts_together() -> None:
    full = np.arange(24.0).reshape(4, 6)
    parts = {rank: part_of("weight", _row([1, 0], [4, 6]), rank, {}) for rank in range(4)}
    pieces = {rank: (part, cut("weight", full, part)) for rank, part in parts.items()}
    pieces[0][1][0, 0] += 0.0
    np.testing.assert_array_equal(join("weight", pieces), full)
    pieces[1][1][:] = 0
    assert full[0, 3] == 3.0
    with pytest.raises(EmulatorError, match=r"weight has the shape \[4, 5\], the layout says \[4, 6\]"):
        cut("weight", full[:, :5], parts[0])


def test_copies_that_differ_and_holes_are_found() -> None:
    part = Part.whole((2, 2))
    nan = np.array([[np.nan, 1], [2, 3]])
    np.testing.assert_array_equal(join("scale", {0: (part, nan), 5: (part, nan.copy())}), nan)
    with pytest.raises(EmulatorError, match=r"scale is not the same on ranks 0 and 5, .*: 1 of 4 elements differ"):
        join("scale", {0: (part, nan), 5: (part, np.nextafter(nan, np.array([[0, 1], [2, 9]])))})
    with pytest.raises(EmulatorError, match="no rank holds 2 of its 4 elements"):
        join("scale", {0: (Part((2, 2), (0, 0), (1, 2)), nan[:1])})
    with pytest.raises(EmulatorError, match=r"rank 1 says its shape is \[3, 2\], others \[2, 2\]"):
        join("scale", {0: (part, nan), 1: (Part.whole((3, 2)), np.zeros((3, 2)))})
