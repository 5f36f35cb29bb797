"""Two checkpoints side by side, tensor by tensor; and one written in another layout. Neither is held in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.checkpoint.saving import Save, commit, save_part
from pangu_alpha.checkpoint.store import Checkpoint
from pangu_alpha.config import ModelConfig, ParallelConfig
from pangu_alpha.files import remove
from pangu_alpha.parallel.parameters import Shape
from pangu_alpha.parallel.parts import Box, owned_boxes

_ROWS_BYTES = 16 << 20
"""Of a tensor that is compared at once."""


@dataclass(frozen=True)
class Difference:
    """How one tensor differs between two checkpoints."""

    name: str
    shapes: tuple[Shape | None, Shape | None]
    """None where a checkpoint does not have it."""
    num_different: int = 0
    """Elements that are not the same to the bit."""
    largest: float = 0.0
    """Largest absolute difference of two elements."""
    relative: float = 0.0
    """Norm of the difference ÷ norm of the first one's tensor; infinite where that is zero."""
    first: Shape = ()
    """Place of the first element that differs."""

    @property
    def is_equal(self) -> bool:
        """To the bit."""
        return self.shapes[0] == self.shapes[1] and not self.num_different


def compare(first: Checkpoint, second: Checkpoint) -> Iterator[Difference]:
    """Every tensor that either of them has, in the order of the first.

    Raises:
        DamagedError: a file is not what was written.
    """
    names = [*first.index.tensors, *(name for name in second.index.tensors if name not in first.index.tensors)]
    for name in names:
        found = [item.index.tensors.get(name) for item in (first, second)]
        shapes = tuple(cells.shape if cells else None for cells in found)
        if shapes[0] is None or shapes[0] != shapes[1]:
            yield Difference(name, (shapes[0], shapes[1]))
        else:
            yield _compared(name, shapes[0], first, second)
        for item in (first, second):
            item.close()


def _compared(name: str, shape: Shape, first: Checkpoint, second: Checkpoint) -> Difference:
    num_different, largest, square, whole = 0, 0.0, 0.0, 0.0
    place: Shape = ()
    step = max(1, _ROWS_BYTES // (4 * math.prod(shape[1:])))
    for begin in range(0, shape[0], step):
        box = Box((begin, *(0 for _ in shape[1:])), (min(step, shape[0] - begin), *shape[1:]))
        ours, theirs = first.read(name, box), second.read(name, box)
        whole += float(np.square(ours, dtype=np.float64).sum())
        differing = ours.view(np.uint32) != theirs.view(np.uint32)
        if differing.any():
            gap = np.abs(ours.astype(np.float64) - theirs)
            largest, square = max(largest, float(gap.max())), square + float(np.square(gap).sum())
            if not place:
                inside = np.unravel_index(int(differing.argmax()), differing.shape)
                place = tuple(int(at) + start for at, start in zip(inside, box.begin, strict=True))
            num_different += int(differing.sum())
    relative = math.sqrt(square / whole) if whole else (math.inf if square else 0.0)
    return Difference(name, (shape, shape), num_different, largest, relative, place)


def rewrite(
    checkpoint: Checkpoint,
    root: Path,
    model: ModelConfig,
    parallel: ParallelConfig,
    state: Mapping[str, Any],
    advance: Callable[[float], None] = lambda num_bytes: None,
) -> Path:
    """Write `checkpoint` as the ranks of another mesh would have; one tensor's part is in memory at a time.

    Args:
        checkpoint: to read.
        root: folder of the new one.
        model: its network.
        parallel: the layout.
        state: of the new one.
        advance: told the bytes that are read.

    Raises:
        DamagedError: a file is not what was written.
        CheckpointError: the disk is full or not writable.
    """
    save = Save(root, checkpoint.step, uuid4().hex)
    shapes = {name: cells.shape for name, cells in checkpoint.index.tensors.items()}

    def values(boxes: Mapping[str, Box]) -> Iterator[NDArray[np.floating]]:
        for name, box in boxes.items():
            found = checkpoint.read(name, box)
            advance(found.nbytes)
            yield found
        checkpoint.close()

    try:
        for rank in range(parallel.num_devices):
            owned = owned_boxes(model, parallel, rank)
            save_part(save, rank, {name: box for name, box in owned.items() if name in shapes}, values)
        return commit(save, parallel.num_devices, shapes, state, checkpoint.health, lambda: 0.0)
    finally:
        remove(save.folder)
