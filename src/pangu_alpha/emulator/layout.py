"""Where each rank's part of each tensor lies in the whole, and the way between whole tensors and parts.

MindSpore's compiler gives each rank a table, `parameter_layout_dict`: name → device matrix of the stage, tensor map,
shape of the slice, ..., name of the group that shares the optimizer (field 5), shape of the whole (field 6). Entry t of
the tensor map cuts that dim along axis t of the matrix, counted from the back; -1 cuts nothing. The optimizer's group
cuts the first dim once more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pangu_alpha.emulator.program import Array
from pangu_alpha.errors import EmulatorError

LayoutRow = Sequence[Any]
_OPTIMIZER_GROUP, _FULL_SHAPE = 5, 6


@dataclass(frozen=True)
class Part:
    """A box of a tensor."""

    full_shape: tuple[int, ...]
    begin: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def index(self) -> tuple[slice, ...]:
        """Cuts the part out of the whole."""
        return tuple(slice(begin, begin + size) for begin, size in zip(self.begin, self.shape, strict=True))

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> Part:
        """A tensor that is not cut."""
        return cls(shape, (0,) * len(shape), shape)


def part_of(name: str, row: LayoutRow, rank: int, groups: Mapping[str, tuple[int, ...]]) -> Part:
    """The part of tensor `name` that `rank` holds.

    Args:
        name: for messages.
        row: the tensor's row of the rank's layout table.
        rank: global rank; its stage holds product(device matrix) consecutive ranks.
        groups: members of the rank's communication groups, see `Program.groups`.

    Raises:
        EmulatorError: the row cannot be laid on the tensor.
    """
    matrix, tensor_map = tuple(row[0]), tuple(row[1])
    full_shape = tuple(row[_FULL_SHAPE])
    place = np.unravel_index(rank % int(np.prod(matrix)), matrix)
    begin, shape = [0] * len(full_shape), list(full_shape)
    cuts = [(dim, matrix[-1 - axis], int(place[-1 - axis])) for dim, axis in enumerate(tensor_map) if axis >= 0]
    group = row[_OPTIMIZER_GROUP]
    if group:
        if rank not in groups.get(group, ()):
            raise EmulatorError(f"{name} on rank {rank}: its optimizer group {group} is not used by the rank's program")
        cuts.append((0, len(groups[group]), groups[group].index(rank)))
    for dim, num_parts, position in cuts:
        if shape[dim] % num_parts:
            raise EmulatorError(f"{name} on rank {rank}: {shape[dim]} in dim {dim} cannot be cut into {num_parts}")
        shape[dim] //= num_parts
        begin[dim] += position * shape[dim]
    return Part(full_shape, tuple(begin), tuple(shape))


def cut(name: str, full: Array, part: Part) -> Array:
    """A rank's own copy of its part.

    Raises:
        EmulatorError: `full` has another shape than the layout says.
    """
    if full.shape != part.full_shape:
        raise EmulatorError(f"{name} has the shape {list(full.shape)}, the layout says {list(part.full_shape)}")
    return np.array(full[part.index])


def join(name: str, pieces: Mapping[int, tuple[Part, Array]]) -> Array:
    """The whole tensor from the parts of the ranks that hold one.

    Raises:
        EmulatorError: two ranks disagree about an element, to the bit, or no rank holds it.
    """
    (first, example), *_ = pieces.values()
    full = np.zeros(first.full_shape, example.dtype)
    owner = np.full(first.full_shape, -1, np.int32)
    for rank, (part, piece) in pieces.items():
        if part.full_shape != first.full_shape:
            raise EmulatorError(
                f"{name}: rank {rank} says its shape is {list(part.full_shape)}, others {list(full.shape)}"
            )
        held = owner[part.index]
        differs = (held >= 0) & (full[part.index] != piece) & ~(np.isnan(full[part.index]) & np.isnan(piece))
        if differs.any():
            other = int(held[differs][0])
            raise EmulatorError(
                f"{name} is not the same on ranks {other} and {rank}, which hold the same part of it: "
                f"{int(differs.sum())} of {piece.size} elements differ"
            )
        full[part.index] = piece
        owner[part.index] = rank
    if (owner < 0).any():
        raise EmulatorError(f"{name}: no rank holds {int((owner < 0).sum())} of its {full.size} elements")
    return full
