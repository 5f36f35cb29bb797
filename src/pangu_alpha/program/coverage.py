"""Checks that the slices of every tensor on the ranks of a mesh make up the whole, each part as often as any other.

The ranks of a stage run the same program on other slices, so one compiled rank a stage says where all of them are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.config import ModelConfig, ParallelConfig
from pangu_alpha.errors import CompileError
from pangu_alpha.parallel.layout_rows import LayoutRow, part_of
from pangu_alpha.parallel.parameters import GRADIENT_SUMS, MOMENTS, Shape, parameter_name
from pangu_alpha.parallel.parts import Box, Part, held_tensors
from pangu_alpha.program.graph import Program, groups_of
from pangu_alpha.program.traffic import axes_of, ranks_along
from pangu_alpha.topology.mesh import Mesh


@dataclass(frozen=True)
class Cover:
    """How a stage holds one tensor."""

    num_parts: int
    """Different slices."""
    num_copies: int
    """Ranks that hold the same slice."""


def stage_cover(
    rank: int, program: Program, layout: Mapping[str, LayoutRow], mesh: Mesh, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Cover]:
    """How the stage of `rank` holds its tensors: parameters and moments.

    Args:
        rank: the compiled one, which stands for its stage.
        shapes: the whole shape of every parameter of the network; the moments have the same.

    Raises:
        CompileError: the slices of a tensor overlap or leave something out, or the program holds another shape than its
            layout says.
    """
    covers: dict[str, Cover] = {}
    known: dict[object, Cover] = {}  # tensors of the same shape and layout, of which there are many
    groups = groups_of(program, mesh.num_ranks)
    for name, row in layout.items():
        shape = shapes.get(parameter_name(name))
        if shape is None or name.startswith(GRADIENT_SUMS):
            continue
        held, expected = tuple(program.parameters[name].shape), part_of(name, row, rank, groups).box.shape
        if tuple(row[6]) != shape or held != expected:
            raise CompileError(
                f"rank {rank} holds {list(held)} of {name} {list(row[6])}; it should hold {list(expected)} of "
                f"{list(shape)}"
            )
        signature = (tuple(row[0]), tuple(row[1]), row[5], shape)
        if signature not in known:
            group = groups[row[5]] if row[5] else ()
            known[signature] = _cover(name, row, rank, group, mesh)
        covers[name] = known[signature]
    return covers


def differing_parts(
    rank: int, program: Program, layout: Mapping[str, LayoutRow], model: ModelConfig, parallel: ParallelConfig
) -> list[str]:
    """Where MindSpore's account of what `rank` holds is not the table's: a sentence each."""
    groups = groups_of(program, parallel.num_devices)
    # What MindSpore gives no row, it leaves as it is: everything of a single rank.
    found = {name: Part.all_of(kind.shape) for name, kind in program.parameters.items()}
    found |= {name: part_of(name, row, rank, groups) for name, row in layout.items()}
    return [
        f"rank {rank} holds {found.get(name, 'nothing')} of {name}, and {one} by the table of parameters"
        for name, one in held_tensors(model, parallel, rank).items()
        if found.get(name) != one
    ]


def not_held(covers: Iterable[Mapping[str, Cover]], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Parameters and moments that no stage holds, of a mesh whose stages are all in `covers`."""
    held = {name for cover in covers for name in cover}
    return [prefix + name for prefix in ("", *MOMENTS) for name in shapes if prefix + name not in held]


def _cover(name: str, row: LayoutRow, rank: int, group: tuple[int, ...], mesh: Mesh) -> Cover:
    axes = axes_of(group, mesh, rank) if group else ()
    if axes is None:
        raise CompileError(f"{name} on rank {rank}: the optimizer shards it over ranks that are no group of {mesh}")
    stage = mesh.place(rank).stage
    parts = [part_of(name, row, other, {row[5]: ranks_along(axes, mesh, other)}) for other in mesh.stage_ranks(stage)]
    times = _times_held([part.box for part in parts], parts[0].whole)
    if times.min() != times.max():
        raise CompileError(
            f"the ranks of stage {stage} do not hold {name} evenly: some of its elements are held {times.min()} times, "
            f"others {times.max()} times"
        )
    return Cover(len(set(parts)), int(times.max()))


def _times_held(boxes: list[Box], whole: Shape) -> NDArray[np.int64]:
    """How many of `boxes` hold each element of a tensor, on the coarsest grid that all their edges lie on."""
    edges = [
        sorted({0, size, *(box.begin[dim] for box in boxes), *(box.stop[dim] for box in boxes)})
        for dim, size in enumerate(whole)
    ]
    times = np.zeros([len(marks) - 1 for marks in edges], np.int64)
    for box in boxes:
        index = tuple(
            slice(marks.index(begin), marks.index(stop))
            for marks, begin, stop in zip(edges, box.begin, box.stop, strict=True)
        )
        times[index] += 1
    return times
