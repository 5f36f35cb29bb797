"""MindSpore's own account of where each rank's part of each tensor lies in the whole.

MindSpore's compiler gives each rank a table, `parameter_layout_dict`: name → device matrix of the stage, tensor map,
shape of the slice, ..., name of the group that shares the optimizer (field 5), shape of the whole (field 6). Entry t of
the tensor map cuts that dim along axis t of the matrix, counted from the back; -1 cuts nothing. The optimizer's group
cuts the first dim once more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pangu_alpha.errors import LayoutError
from pangu_alpha.parallel.parameters import Shape
from pangu_alpha.parallel.parts import Box, Part

LayoutRow = Sequence[Any]
_OPTIMIZER_GROUP, _FULL_SHAPE = 5, 6


def optimizer_group(row: LayoutRow) -> str:
    """Name of the group of ranks that shares the optimizer of a tensor; empty where none does."""
    return str(row[_OPTIMIZER_GROUP])


def part_of(name: str, row: LayoutRow, rank: int, groups: Mapping[str, tuple[int, ...]]) -> Part:
    """The part of tensor `name` that `rank` holds.

    Args:
        name: for messages.
        row: the tensor's row of the rank's layout table.
        rank: global rank; its stage holds product(device matrix) consecutive ranks.
        groups: members of the rank's communication groups, see `groups_of`.

    Raises:
        LayoutError: the row cannot be laid on the tensor.
    """
    matrix, tensor_map = tuple(row[0]), tuple(row[1])
    full_shape = tuple(row[_FULL_SHAPE])
    place = np.unravel_index(rank % int(np.prod(matrix)), matrix)
    begin, shape = [0] * len(full_shape), list(full_shape)
    cuts = [(dim, matrix[-1 - axis], int(place[-1 - axis])) for dim, axis in enumerate(tensor_map) if axis >= 0]
    group = optimizer_group(row)
    if group:
        if rank not in groups.get(group, ()):
            raise LayoutError(f"{name} on rank {rank}: its optimizer group {group} is not used by the rank's program")
        cuts.append((0, len(groups[group]), groups[group].index(rank)))
    for dim, num_parts, position in cuts:
        if shape[dim] % num_parts:
            raise LayoutError(f"{name} on rank {rank}: {shape[dim]} in dim {dim} cannot be cut into {num_parts}")
        shape[dim] //= num_parts
        begin[dim] += position * shape[dim]
    return Part(full_shape, Box(tuple(begin), tuple(shape)))


def require_parts(
    held: Mapping[str, Part],
    shapes: Mapping[str, Shape],
    layout: Mapping[str, LayoutRow],
    rank: int,
    groups: Mapping[str, tuple[int, ...]],
) -> None:
    """Refuse a rank whose parameters and moments MindSpore cuts otherwise than the table of parameters.

    Args:
        held: what the table says, by name.
        shapes: of all of MindSpore's parameters and moments in this process, those of other stages too.
        layout: MindSpore's rows; none for a single rank, which holds everything.
        rank: the rank.
        groups: members of the groups that share an optimizer.

    Raises:
        LayoutError: naming the tensor and both accounts of it.
    """
    mine = {name for name in shapes if not layout or name in layout}
    if odd := sorted(mine ^ set(held)):
        whose = "MindSpore's alone" if odd[0] in mine else "the table's alone"
        raise LayoutError(f"rank {rank}: {odd[0]} is {whose}; {len(odd)} tensor(s) are not in both accounts")
    for name, part in held.items():
        found = part_of(name, layout[name], rank, groups) if layout else Part.all_of(shapes[name])
        if found != part or shapes[name] != part.box.shape:
            raise LayoutError(
                f"rank {rank} holds {found} of {name}, in the shape {list(shapes[name])}, by MindSpore's account, and "
                f"{part} by the table of parameters"
            )
