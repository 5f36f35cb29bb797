"""MindSpore's strategy file: how each parameter is cut over the ranks that wrote the slices (`node_strategy.proto`).

The ranks stand in a matrix of devices, in C order. A dim of a parameter is cut by one axis of that matrix, counted from
the right, or by none (-1). Optimizer sharding cuts the first dim once more, over the ranks that would hold the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from pangu_alpha.convert.wire import LENGTH, VARINT, Field, bytes_field, fields, number_field, numbers, signed
from pangu_alpha.errors import CheckpointError, DamagedError
from pangu_alpha.parallel.parameters import Shape
from pangu_alpha.parallel.parts import Box
from pangu_alpha.reading.files import read_bytes

_STAGE, _OPERATOR, _ITEM, _NAME, _LAYOUT, _DIM = 1, 2, 3, 1, 2, 1
_MATRIX, _MAP, _SPLIT, _OFFSETS, _FIELD, _STEP, _SIZE = 1, 2, 3, 4, 5, 6, 7


@dataclass(frozen=True)
class Layout:
    """How one parameter is cut."""

    devices: Shape
    """The matrix of devices."""
    tensor_map: tuple[int, ...]
    """For each dim the axis of that matrix, 0 is the last one; -1: the dim is whole."""
    step: int = 0
    """Ranks from one of an optimizer's group to the next; 0: no optimizer sharding."""
    size: int = 0
    """Ranks of such a group; -1: all that would hold the same."""

    @property
    def num_devices(self) -> int:
        """Ranks that have written slices."""
        return math.prod(self.devices)

    @property
    def cuts(self) -> Shape:
        """In how many parts each dim is cut before optimizer sharding."""
        return tuple(1 if axis < 0 else self.devices[-1 - axis] for axis in self.tensor_map)

    @property
    def num_shards(self) -> int:
        """Parts in which optimizer sharding cuts the first dim."""
        if not self.step:
            return 1
        return self.num_devices // math.prod(self.cuts) if self.size < 0 else self.size

    def whole(self, part: Shape) -> Shape:
        """The shape of the tensor of which a rank has a part of this shape."""
        first, *others = (size * cut for size, cut in zip(part, self.cuts, strict=True))
        return (first * self.num_shards, *others)

    def box(self, rank: int, shape: Shape) -> Box:
        """What `rank` holds of a tensor of this shape, which the cuts divide."""
        place = _place(self.devices, rank)
        part = [size // cut for size, cut in zip(shape, self.cuts, strict=True)]
        begin = [0 if axis < 0 else size * place[-1 - axis] for axis, size in zip(self.tensor_map, part, strict=True)]
        if self.num_shards > 1:
            part[0] //= self.num_shards
            begin[0] += part[0] * (rank // self.step % self.num_shards)
        return Box(tuple(begin), tuple(part))


@lru_cache(1 << 16)
def _place(devices: Shape, rank: int) -> Shape:
    """Of a rank in the matrix of devices."""
    return tuple(map(int, np.unravel_index(rank, devices)))


def read_strategy(path: Path) -> dict[str, Layout]:
    """The layout of each parameter, by name.

    Raises:
        DamagedError: it is no strategy file, or is cut off.
        CheckpointError: it cannot be read now, or cuts in a way that is not known here.
    """
    try:
        data = read_bytes(path)
        file = BytesIO(data)
        layouts = {}
        for field in fields(file, 0, len(data)):
            if (field.number, field.kind) == (_ITEM, LENGTH):
                name, layout = _item(file, field)
                layouts[name] = layout
            elif field.number not in (_STAGE, _OPERATOR):
                raise ValueError(f"field {field.number}")
        if not layouts:
            raise ValueError("it names no parameter")
    except ValueError as error:
        raise DamagedError(f"{path} is damaged, or not a strategy file of MindSpore: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    return layouts


def write_strategy(path: Path, layouts: Mapping[str, Layout]) -> None:
    """Write a strategy file.

    Raises:
        OSError: the disk is full or not writable.
    """
    items = (
        bytes_field(_ITEM, bytes_field(_NAME, name.encode()) + bytes_field(_LAYOUT, _message(layout)))
        for name, layout in layouts.items()
    )
    path.write_bytes(number_field(_STAGE, 1) + b"".join(items))


def _message(layout: Layout) -> bytes:
    return b"".join(
        (
            bytes_field(_MATRIX, _dims(layout.devices)),
            bytes_field(_MAP, _dims(layout.tensor_map)),
            bytes_field(_SPLIT, b""),
            bytes_field(_OFFSETS, b""),
            number_field(_FIELD, 0),
            number_field(_STEP, layout.step),
            number_field(_SIZE, layout.size),
        )
    )


def _dims(values: Iterable[int]) -> bytes:
    return b"".join(number_field(_DIM, value) for value in values)


def _item(file: BinaryIO, item: Field) -> tuple[str, Layout]:
    inside = {field.number: field for field in _inside(file, item)}
    if set(inside) != {_NAME, _LAYOUT} or {field.kind for field in inside.values()} != {LENGTH}:
        raise ValueError("a parameter without a name or a layout")
    file.seek(inside[_NAME].offset)
    name = file.read(inside[_NAME].value).decode()
    layout = {field.number: field for field in _inside(file, inside[_LAYOUT])}
    if not {_MATRIX, _MAP, _FIELD, _STEP, _SIZE} <= set(layout):
        raise ValueError(f"the layout of {name} is not whole")
    split = [] if _SPLIT not in layout else _values(file, layout[_SPLIT])
    if split or layout[_FIELD].value:
        raise ValueError(f"{name} is cut in unequal parts, which is not known here")
    devices, tensor_map = (tuple(_values(file, layout[number])) for number in (_MATRIX, _MAP))
    found = Layout(devices, tensor_map, signed(layout[_STEP].value), signed(layout[_SIZE].value))
    if not _makes_up(found):
        raise ValueError(f"the parts of {name} do not make it up: {found}")
    return name, found


@lru_cache
def _makes_up(layout: Layout) -> bool:
    """Whether the parts of the ranks are the whole, each in as many ranks as any other."""
    axes = [axis for axis in layout.tensor_map if axis >= 0]
    is_known = (
        layout.devices
        and min(layout.devices) > 0
        and min(layout.tensor_map, default=0) >= -1
        and max(axes, default=0) < len(layout.devices)
        and len(set(axes)) == len(axes)
        and layout.step >= 0
    )
    if not is_known or not layout.tensor_map:
        return False
    shape = layout.whole((1,) * len(layout.tensor_map))
    boxes = Counter(layout.box(rank, shape) for rank in range(layout.num_devices))
    return len(boxes) == math.prod(shape) and len(set(boxes.values())) == 1


def _inside(file: BinaryIO, field: Field) -> Iterable[Field]:
    return list(fields(file, field.offset, field.offset + field.value))


def _values(file: BinaryIO, field: Field) -> list[int]:
    values: list[int] = []
    for inner in _inside(file, field):
        if inner.number != _DIM:
            raise ValueError(f"field {inner.number} among sizes")
        if inner.kind == VARINT:
            values.append(signed(inner.value))
        else:
            file.seek(inner.offset)
            values += map(signed, numbers(file.read(inner.value)))
    return values
