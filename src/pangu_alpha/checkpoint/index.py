"""index.json: which file holds which cell of each tensor, and the state of the run. It is written last.

A tensor is cut into equal cells, of which the last ones of a dim may be smaller. Cells are numbered in C order.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pangu_alpha.checkpoint.slice_file import Seal
from pangu_alpha.errors import DamagedError
from pangu_alpha.files import flush, write_text
from pangu_alpha.parallel.parameters import MOMENTS, Shape
from pangu_alpha.parallel.parts import Box

INDEX = "index.json"
FORMAT_VERSION = 3
WEIGHTS, OPTIMIZER = "weights", "optimizer"
GROUPS = (WEIGHTS, OPTIMIZER)
"""Tensors that are read together; each has files of its own."""


def group_of(name: str) -> str:
    """The group of a tensor."""
    return OPTIMIZER if name.startswith(MOMENTS) else WEIGHTS


@dataclass(frozen=True)
class Health:
    """How a run was when it was saved."""

    loss: float
    """Of the last step, nats of a token."""
    grad_norm: float
    """Of the last step, before clipping."""
    is_spike: bool
    """Whether either was far above those of the steps before."""
    is_lost: bool = False
    """Whether the next step found that its loss is not finite."""


@dataclass(frozen=True)
class Cells:
    """Where the cells of one tensor are."""

    shape: Shape
    """Of the tensor."""
    cell: Shape
    """Of a cell that is not at the end of a dim."""
    files: tuple[int, ...]
    """The number of the file of each cell."""

    @property
    def grid(self) -> Shape:
        """Number of cells along each dim."""
        return tuple(-(-size // part) for size, part in zip(self.shape, self.cell, strict=True))

    def covering(self, box: Box) -> Iterator[tuple[Box, int]]:
        """The cells that hold something of `box`, each with the number of its file."""
        grid = self.grid
        ranges = (
            range(begin // part, -(-stop // part))
            for begin, stop, part in zip(box.begin, box.stop, self.cell, strict=True)
        )
        for place in itertools.product(*ranges):
            number = 0
            for position, count in zip(place, grid, strict=True):
                number = number * count + position
            yield self.box(place), self.files[number]

    def box(self, place: Shape) -> Box:
        """The box of the cell at `place` in the grid."""
        begin = tuple(position * part for position, part in zip(place, self.cell, strict=True))
        shape = tuple(min(part, size - first) for part, size, first in zip(self.cell, self.shape, begin, strict=True))
        return Box(begin, shape)


@dataclass(frozen=True)
class Index:
    """What index.json says."""

    step: int
    """Optimizer steps done."""
    state: Mapping[str, Any]
    """What the run needs to go on."""
    health: Health | None
    """None where it is not known: weights that were made from other files, and checkpoints of earlier formats."""
    files: tuple[tuple[str, Seal | None], ...]
    """Paths in the checkpoint's folder, by number. Files of earlier formats have no seal."""
    tensors: Mapping[str, Cells]
    checksum: str = ""
    """Of itself; empty in one that is being made, and in the first format, which has none."""


def write_index(folder: Path, index: Index) -> None:
    """Write index.json and flush it to the disk.

    Raises:
        OSError: the disk is full or not writable.
    """
    fields = {
        "version": FORMAT_VERSION,
        "step": index.step,
        "health": None if index.health is None else vars(index.health),
        "state": dict(index.state),
        "files": [[path, seal.num_bytes, seal.head] for path, seal in index.files if seal is not None],
        "tensors": {
            name: {"shape": cells.shape, "cell": cells.cell, "files": cells.files}
            for name, cells in index.tensors.items()
        },
    }
    # As it will be read: JSON has no tuples, and knows numbers by their digits.
    fields = json.loads(json.dumps(fields, ensure_ascii=False, allow_nan=False))
    text = json.dumps({**fields, "checksum": checksum_of(fields)}, ensure_ascii=False, separators=(",", ":"))
    write_text(folder / INDEX, text)
    flush(folder / INDEX)


def index_of(folder: Path, fields: dict[str, Any]) -> Index:
    """What the fields of an index.json say.

    Raises:
        DamagedError: they are not what was written.
        ValueError, KeyError, TypeError, AttributeError: nor have they the form of an index.
    """
    checksum = fields.pop("checksum", None)
    if checksum != checksum_of(fields):
        raise DamagedError(f"{folder / INDEX} is damaged: its checksum is not its own. Use another checkpoint")
    files = tuple((_inside(name), Seal(_number(size), str(head))) for name, size, head in fields["files"])
    tensors = {
        name: cells_of(item["shape"], item["cell"], item["files"], len(files))
        for name, item in fields["tensors"].items()
    }
    health = None if fields["health"] is None else _health(**fields["health"])
    step, state = step_and_state(fields)
    return Index(step, state, health, files, tensors, checksum)


def checksum_of(fields: Mapping[str, Any]) -> str:
    """Checksum of what an index says."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"the file {name} is outside the checkpoint")
    return name


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no number of bytes, elements or steps")
    return value


def _health(loss: Any, grad_norm: Any, is_spike: Any, is_lost: Any = False) -> Health:
    return Health(float(loss), float(grad_norm), bool(is_spike), bool(is_lost))


def step_and_state(fields: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """What an index of any format says of the run.

    Raises:
        ValueError: it is not what was written.
    """
    if not isinstance(fields["state"], dict):
        raise ValueError("its state is no object")
    return _number(fields["step"]), fields["state"]


def cells_of(shape: Sequence[Any], cell: Sequence[Any], files: Sequence[Any], num_files: int) -> Cells:
    """The cells of a tensor.

    Raises:
        ValueError: there are others than make up the shape, or in other files.
    """
    cells = Cells(tuple(map(_number, shape)), tuple(map(_number, cell)), tuple(map(_number, files)))
    if (
        not cells.shape
        or min((*cells.shape, *cells.cell)) < 1
        or math.prod(cells.grid) != len(files)
        or not set(cells.files) <= set(range(num_files))
    ):
        raise ValueError(f"{len(files)} cells of {list(cell)} do not make up {list(shape)}")
    return cells
