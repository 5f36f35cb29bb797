from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pangu_alpha.errors import CompileError
from pangu_alpha.program.coverage import Cover, not_held, stage_cover
from pangu_alpha.topology.mesh import Mesh

MESH = Mesh(dp=4, mp=2, pp=2)
SHAPES = {"layers.0.feed_forward.expand.weight": (16, 6)}
NAME = "layers.0.feed_forward.expand.weight"
GROUP = {"group": "replicas", "group_rank_ids": (8, 10, 12, 14)}


def row(tensor_map: tuple[int, ...], group: str = "", full: tuple[int, ...] = (16, 6)) -> list[Any]:
    return [(4, 2), tensor_map, None, 0, True, group, full]


@pytest.fixture
def cover(write_program: Callable[..., Any]) -> Callable[..., dict[str, Cover]]:
    def run(layout_row: list[Any], held: tuple[int, ...], rank: int = 8, group: Any = GROUP) -> dict[str, Cover]:
        nodes = [("summed", "AllReduce", (NAME,), group)]
        program = write_program(nodes, {"summed": None}, parameters={NAME: np.zeros(held)})
        return stage_cover(rank, program, {NAME: layout_row, "args0": row((1, -1))}, MESH, SHAPES)

    return run


def test_columns_over_mp_are_held_by_every_replica(cover: Callable[..., dict[str, Cover]]) -> None:
    assert cover(row((-1, 0)), (16, 3)) == {"layers.0.feed_forward.expand.weight": Cover(num_parts=2, num_copies=4)}


def test_the_optimizer_shards_what_replicas_would_hold_again(cover: Callable[..., dict[str, Cover]]) -> None:
    assert cover(row((-1, 0), "replicas"), (4, 3)) == {
        "layers.0.feed_forward.expand.weight": Cover(num_parts=8, num_copies=1)
    }


def test_a_group_that_repeats_a_cut_leaves_elements_out(cover: Callable[..., dict[str, Cover]]) -> None:
    # Columns are cut over mp, and the optimizer cuts rows over mp too: rank (0, 0) has neither its half of the rows ...
    neighbours = {"group": "neighbours", "group_rank_ids": (8, 9)}
    with pytest.raises(CompileError, match=r"stage 1 do not hold .*expand.weight evenly: .* 0 times, others 4"):
        cover(row((-1, 0), "neighbours"), (8, 3), group=neighbours)


def test_a_program_that_holds_another_shape_is_refused(cover: Callable[..., dict[str, Cover]]) -> None:
    with pytest.raises(CompileError, match=r"rank 8 holds \[16, 6\] of .* it should hold \[16, 3\] of \[16, 6\]"):
        cover(row((-1, 0)), (16, 6))


def test_a_whole_of_another_shape_than_the_recipe_is_refused(cover: Callable[..., dict[str, Cover]]) -> None:
    with pytest.raises(CompileError, match=r"\[16, 8\].*of \[16, 6\]"):
        cover(row((-1, 0), full=(16, 8)), (16, 4))


def test_a_group_outside_the_mesh_is_refused(cover: Callable[..., dict[str, Cover]]) -> None:
    with pytest.raises(CompileError, match="no group of dp"):
        cover(row((-1, 0), "odd"), (8, 3), group={"group": "odd", "group_rank_ids": (8, 11)})


def test_tensors_without_a_holder_are_named(cover: Callable[..., dict[str, Cover]]) -> None:
    assert not_held([cover(row((-1, 0)), (16, 3))], {**SHAPES, "final_norm.gamma": (6,)}) == [
        "final_norm.gamma",
        "adam_m.layers.0.feed_forward.expand.weight",
        "adam_m.final_norm.gamma",
        "adam_v.layers.0.feed_forward.expand.weight",
        "adam_v.final_norm.gamma",
    ]
