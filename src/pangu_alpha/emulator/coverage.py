"""Checks that the slices of every tensor on the ranks of a mesh make up the whole, each part as often as any other.

The ranks of a stage run the same program on other slices, so one compiled rank a stage says where all of them are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.emulator.layout import LayoutRow, Part, part_of
from pangu_alpha.emulator.program import Program
from pangu_alpha.emulator.traffic import axes_of, ranks_along
from pangu_alpha.errors import CompileError
from pangu_alpha.topology.mesh import Mesh

MOMENTS = ("adam_m.", "adam_v.")
"""Prefixes of the names of the optimizer's state."""


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
    """How the stage of `rank` holds its tensors: parameters and moments, by their name on a single device.

    Args:
        rank: the compiled one, which stands for its stage.
        shapes: the whole shape of every parameter of the network; the moments have the same.

    Raises:
        CompileError: the slices of a tensor overlap or leave something out, or the program holds another shape than its
            layout says.
    """
    covers: dict[str, Cover] = {}
    known: dict[object, Cover] = {}  # tensors of the same shape and layout, of which there are many
    groups = program.groups()
    for full_name, row in layout.items():
        name = tensor_name(full_name)
        shape = shapes.get(_parameter(name))
        if shape is None:
            continue
        held, expected = tuple(program.parameters[full_name].shape), part_of(name, row, rank, groups).shape
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


def not_held(covers: Iterable[Mapping[str, Cover]], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Parameters and moments that no stage holds, of a mesh whose stages are all in `covers`."""
    held = {name for cover in covers for name in cover}
    return [prefix + name for prefix in ("", *MOMENTS) for name in shapes if prefix + name not in held]


def tensor_name(name: str) -> str:
    """A tensor's name as the single-device network has it: without what wraps the network in the training step."""
    for prefix in MOMENTS:
        if name.startswith(prefix):
            return prefix + tensor_name(name.removeprefix(prefix))
    return name.partition("network.")[2] or name


def _parameter(name: str) -> str:
    for prefix in MOMENTS:
        name = name.removeprefix(prefix)
    return name


def _cover(name: str, row: LayoutRow, rank: int, group: tuple[int, ...], mesh: Mesh) -> Cover:
    axes = axes_of(group, mesh, rank) if group else ()
    if axes is None:
        raise CompileError(f"{name} on rank {rank}: the optimizer shards it over ranks that are no group of {mesh}")
    stage = mesh.place(rank).stage
    parts = [part_of(name, row, other, {row[5]: ranks_along(axes, mesh, other)}) for other in mesh.stage_ranks(stage)]
    times = _times_held(parts)
    if times.min() != times.max():
        raise CompileError(
            f"the ranks of stage {stage} do not hold {name} evenly: some of its elements are held {times.min()} times, "
            f"others {times.max()} times"
        )
    return Cover(len(set(parts)), int(times.max()))


def _times_held(parts: list[Part]) -> NDArray[np.int64]:
    """How many of `parts` hold each element, on the coarsest grid that all their edges lie on."""
    dims = range(len(parts[0].full_shape))
    edges = [
        sorted(
            {
                0,
                parts[0].full_shape[dim],
                *(edge for part in parts for edge in (part.begin[dim], part.begin[dim] + part.shape[dim])),
            }
        )
        for dim in dims
    ]
    times = np.zeros([len(marks) - 1 for marks in edges], np.int64)
    for part in parts:
        box = tuple(
            slice(edges[dim].index(part.begin[dim]), edges[dim].index(part.begin[dim] + part.shape[dim]))
            for dim in dims
        )
        times[box] += 1
    return times
