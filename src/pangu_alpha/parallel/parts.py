"""Which part of each tensor a rank holds, and which rank writes it down; from the table alone. No MindSpore.

A part is a box: a rectangular piece of a whole tensor. All ranks compute the same boxes from recipe and mesh, so they
need not tell each other what they hold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.config import ModelConfig, ParallelConfig
from pangu_alpha.errors import LayoutError
from pangu_alpha.parallel.parameters import MOMENTS, Shape, parameter_names, row_of, stages_holding, tensor_names
from pangu_alpha.topology.mesh import Axis, Mesh
from pangu_alpha.topology.stages import place_layers

Array = NDArray[Any]
_SMALL = 1 << 18
"""Elements below which a box that many ranks hold is always written by the first of them, so that readers find all of
these in one file."""


@dataclass(frozen=True)
class Box:
    """A rectangular piece of a tensor."""

    begin: Shape
    """First element of each dim, in the whole."""
    shape: Shape
    """Elements of each dim; one of 0 makes the box empty."""

    @classmethod
    def all_of(cls, shape: Shape) -> Box:
        """A whole tensor."""
        return cls((0,) * len(shape), shape)

    @property
    def stop(self) -> Shape:
        """The element after the last of each dim."""
        return tuple(begin + size for begin, size in zip(self.begin, self.shape, strict=True))

    @property
    def index(self) -> tuple[slice, ...]:
        """Cuts the box out of the whole."""
        return tuple(map(slice, self.begin, self.stop))

    @property
    def num_elements(self) -> int:
        """All of them."""
        return math.prod(self.shape)

    def intersect(self, other: Box) -> Box:
        """What both boxes hold, perhaps nothing."""
        begin = tuple(map(max, self.begin, other.begin))
        stop = map(min, self.stop, other.stop)
        return Box(begin, tuple(max(0, end - first) for first, end in zip(begin, stop, strict=True)))

    def within(self, outer: Box) -> Box:
        """The same box, counted from where `outer` begins, in which it lies."""
        return Box(tuple(begin - first for begin, first in zip(self.begin, outer.begin, strict=True)), self.shape)

    def index_in(self, outer: Box) -> tuple[slice, ...]:
        """Cuts the box out of a tensor that holds just `outer`, in which it lies."""
        return self.within(outer).index


@dataclass(frozen=True)
class Part:
    """A rank's box of a tensor. Both may end in padding."""

    whole: Shape
    """Shape of the whole tensor."""
    box: Box

    @classmethod
    def all_of(cls, shape: Shape) -> Part:
        """A tensor that is not cut."""
        return cls(shape, Box.all_of(shape))

    def __str__(self) -> str:
        ranges = (f"{begin}:{stop}" for begin, stop in zip(self.box.begin, self.box.stop, strict=True))
        return f"[{', '.join(ranges)}] of {list(self.whole)}"


def part(name: str, model: ModelConfig, parallel: ParallelConfig, rank: int) -> Part:
    """The part of a parameter, or of one of its moments, that a rank of a stage that holds it has."""
    mesh = Mesh.of(parallel)
    place = mesh.place(rank)
    position = {"dp": place.replica, "mp": place.slice, "pp": place.stage}
    whole = row_of(name).padded_shape(model, mesh.mp)
    cuts = cutting_axes(name, model, parallel)
    shape = tuple(size // math.prod(map(mesh.size, axes)) for size, axes in zip(whole, cuts, strict=True))
    begin = tuple(
        size * _number([(position[axis], mesh.size(axis)) for axis in axes])
        for size, axes in zip(shape, cuts, strict=True)
    )
    return Part(whole, Box(begin, shape))


def held_parts(model: ModelConfig, parallel: ParallelConfig, rank: int) -> dict[str, Part]:
    """The part of every parameter that `rank` holds; its moments are cut alike."""
    stage = Mesh.of(parallel).place(rank).stage
    return {name: part(name, model, parallel, rank) for name in _names_of(model, parallel, stage)}


def held_tensors(model: ModelConfig, parallel: ParallelConfig, rank: int) -> dict[str, Part]:
    """The part of every parameter and moment that `rank` holds."""
    parts = held_parts(model, parallel, rank)
    return {prefix + name: held for prefix in ("", *MOMENTS) for name, held in parts.items()}


def sharers(model: ModelConfig, parallel: ParallelConfig, rank: int) -> dict[str, list[str]]:
    """The parameters and moments of which other ranks of its stage hold the same part as `rank`.

    They are told apart by the ranks that hold them, in words that these have in common: the stage, and the place of the
    part along the axes that cut it.
    """
    mesh = Mesh.of(parallel)
    place = mesh.place(rank)
    found: dict[str, list[str]] = {}
    for name in held_tensors(model, parallel, rank):
        cut_by = {axis for axes in cutting_axes(name, model, parallel) for axis in axes}
        among: tuple[tuple[Axis, int], ...] = (("dp", place.replica), ("mp", place.slice))
        if all(axis in cut_by or mesh.size(axis) == 1 for axis, _ in among):
            continue
        key = " ".join([f"stage {place.stage}", *(f"{axis} {at}" for axis, at in among if axis in cut_by)])
        found.setdefault(key, []).append(name)
    return found


def cutting_axes(name: str, model: ModelConfig, parallel: ParallelConfig) -> tuple[tuple[Axis, ...], ...]:
    """The axes that cut each dim of a parameter over the ranks of a stage, the outer one first.

    The optimizer's sharding cuts the first dim once more, where the replicas divide what is left of it.
    """
    mesh, row = Mesh.of(parallel), row_of(name)
    axes = [() if split is None else (split,) if isinstance(split, str) else split for split in row.cut]
    rows = row.padded_shape(model, mesh.mp)[0] // math.prod(map(mesh.size, axes[0]))
    if parallel.optimizer_sharding and not row.is_kept_whole and rows % mesh.dp == 0:
        axes[0] = (*axes[0], "dp")
    return tuple(axes)


def num_parts(name: str, model: ModelConfig, parallel: ParallelConfig) -> int:
    """In how many different parts the ranks of a stage hold a parameter."""
    mesh = Mesh.of(parallel)
    return math.prod(mesh.size(axis) for axes in cutting_axes(name, model, parallel) for axis in axes)


def norm_shares(names: Sequence[str], model: ModelConfig, parallel: ParallelConfig, stage: int) -> list[float]:
    """For each parameter, what its gradient on a rank of `stage` counts in the global norm.

    1 ÷ the number of ranks of the stage that hold the same part. A copy of another stage's parameter does not count:
    that stage gets its gradient.
    """
    places = place_layers(model, parallel)
    num_ranks = parallel.dp * parallel.mp
    return [
        num_parts(name, model, parallel) / num_ranks if stages_holding(name, places)[0] == stage else 0.0
        for name in names
    ]


def owned_boxes(model: ModelConfig, parallel: ParallelConfig, rank: int) -> dict[str, Box]:
    """What `rank` writes down of weights and moments, in the order of `tensor_names`: of each one box at most.

    Together the ranks write every element once; none needs to ask another. Boxes are without padding, and empty ones
    are nobody's. The holders of the same large box take turns, from tensor to tensor in the order of their size, so
    that all have about the same to write; a copy of another stage's parameter is not written.
    """
    mesh, places = Mesh.of(parallel), place_layers(model, parallel)
    place = mesh.place(rank)
    turns = _turns(model, parallel, place.stage)
    owned = {}
    for name, held in held_parts(model, parallel, rank).items():
        box = without_padding(name, held, model)
        if not box.num_elements or stages_holding(name, places)[0] != place.stage:
            continue
        cut_by = {axis for axes in cutting_axes(name, model, parallel) for axis in axes}
        among: tuple[tuple[Axis, int], ...] = (("dp", place.replica), ("mp", place.slice))
        copies = [(position, mesh.size(axis)) for axis, position in among if axis not in cut_by]
        for number, prefix in enumerate(("", *MOMENTS)):
            writer = (turns[name] + number) % math.prod(size for _, size in copies) if name in turns else 0
            if _number(copies) == writer:
                owned[prefix + name] = box
    return {name: owned[name] for name in tensor_names(model) if name in owned}


@cache
def _turns(model: ModelConfig, parallel: ParallelConfig, stage: int) -> Mapping[str, int]:
    """The turn at which the holders of each large box of a stage are, when it comes to that tensor."""
    sizes = {
        name: math.prod(row_of(name).padded_shape(model, parallel.mp)) // num_parts(name, model, parallel)
        for name in _names_of(model, parallel, stage)
    }
    large = sorted((name for name, size in sizes.items() if size >= _SMALL), key=lambda name: -sizes[name])
    return {name: (1 + len(MOMENTS)) * number for number, name in enumerate(large)}


def without_padding(name: str, held: Part, model: ModelConfig) -> Box:
    """What is left of a rank's box of a parameter, or of one of its moments, when its padding is cut off."""
    return held.box.intersect(Box.all_of(row_of(name).shape(model)))


def cut(name: str, full: Array, held: Part) -> Array:
    """A rank's own copy of its part.

    Raises:
        LayoutError: `full` has another shape than the layout says.
    """
    if full.shape != held.whole:
        raise LayoutError(f"{name} has the shape {list(full.shape)}, the layout says {list(held.whole)}")
    return np.array(full[held.box.index])


def join(name: str, pieces: Mapping[int, tuple[Part, Array]]) -> Array:
    """The whole tensor from the parts of the ranks that hold one.

    Raises:
        LayoutError: two ranks disagree about an element, to the bit, or no rank holds it.
    """
    (first, example), *_ = pieces.values()
    full = np.zeros(first.whole, example.dtype)
    holder = np.full(first.whole, -1, np.int32)
    for rank, (held, piece) in pieces.items():
        if held.whole != first.whole:
            raise LayoutError(f"{name}: rank {rank} says its shape is {list(held.whole)}, others {list(full.shape)}")
        index = held.box.index
        known = holder[index]
        differs = (known >= 0) & (full[index] != piece) & ~(np.isnan(full[index]) & np.isnan(piece))
        if differs.any():
            other = int(known[differs][0])
            raise LayoutError(
                f"{name} is not the same on ranks {other} and {rank}, which hold the same part of it: "
                f"{int(differs.sum())} of {piece.size} elements differ"
            )
        full[index] = piece
        holder[index] = rank
    if (holder < 0).any():
        raise LayoutError(f"{name}: no rank holds {int((holder < 0).sum())} of its {full.size} elements")
    return full


def _number(places: Sequence[tuple[int, int]]) -> int:
    """The place of a rank along a dim that several axes cut, each given as (position, size), the outer one first."""
    number = 0
    for position, size in places:
        number = number * size + position
    return number


@cache
def _names_of(model: ModelConfig, parallel: ParallelConfig, stage: int) -> tuple[str, ...]:
    places = place_layers(model, parallel)
    return tuple(name for name in parameter_names(model) if stage in stages_holding(name, places))
