"""Saving a checkpoint: every rank writes what it owns, and rank 0 makes a checkpoint of it when all have.

Ranks need nothing but a folder that all of them see. While it is written the folder has a name that no reader looks at,
in which the attempt is: a text that no other start of the job has. So what a dead start left is never mixed in.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.checkpoint.index import GROUPS, INDEX, Cells, Health, Index, group_of, write_index
from pangu_alpha.checkpoint.slice_file import Seal, write_slices, write_zeros
from pangu_alpha.checkpoint.store import is_finite, open_checkpoint
from pangu_alpha.errors import CheckpointError, DamagedError, TrainingError
from pangu_alpha.files import ASIDE, aside_of, flush, remove, write_text
from pangu_alpha.parallel.parameters import Shape
from pangu_alpha.parallel.parts import Box
from pangu_alpha.reading import read_json

_MARKERS = "done"
PATIENCE = 900.0
"""Seconds without anything new from any rank after which the missing ones are given up."""
_POLL = 0.05
Values = Callable[[Mapping[str, Box]], Iterable[NDArray[np.floating]]]
"""Gives the values of boxes of tensors that a rank holds, in their order, one at a time."""


@dataclass(frozen=True)
class Save:
    """One checkpoint that is being written; all ranks have the same."""

    root: Path
    """Folder of all checkpoints of the run."""
    step: int
    """Optimizer steps done."""
    attempt: str
    """The same on all ranks, and new at each start of the job."""

    @property
    def final(self) -> Path:
        """Where the checkpoint will be."""
        return self.root / step_name(self.step)

    @property
    def folder(self) -> Path:
        """Where it is while it is written."""
        return self.root / f".{step_name(self.step)}.{self.attempt}{ASIDE}"


def saves_in(root: Path) -> list[Save]:
    """The checkpoints that are being written to `root`, those of dead processes too."""
    names = [path.name.split(".")[1:3] for path in root.glob(f".step_*.*{ASIDE}")]
    return [Save(root, int(step.removeprefix("step_")), attempt) for step, attempt in names]


def step_name(step: int) -> str:
    """The name of the folder of a step's checkpoint; names are in the order of the steps."""
    return f"step_{step:08d}"


def save_part(save: Save, rank: int, boxes: Mapping[str, Box], values: Values | None) -> None:
    """Write what `rank` owns and say so. The checkpoint is there after `commit`.

    Args:
        save: the checkpoint.
        rank: this one.
        boxes: what it owns of tensors, see `owned_boxes`.
        values: gives what is in them. None: zeros, in files with holes; of a rank that a rehearsal leaves out.

    Raises:
        TrainingError: a tensor is not finite. Earlier checkpoints are untouched, here and below.
        CheckpointError: the disk is full or not writable.
    """
    marker: dict[str, Any] = {"rank": rank, "files": {}, "boxes": {}}
    paths = {group: save.folder / group / f"rank_{rank:05d}.safetensors" for group in GROUPS}
    with _explained(save, *paths.values()):
        for group, path in paths.items():
            mine = {name: box for name, box in boxes.items() if group_of(name) == group}
            if not mine:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            shapes = {name: box.shape for name, box in mine.items()}
            note = {"step": str(save.step), "rank": str(rank)}
            if values is None:
                seal = write_zeros(path, shapes, note)
            else:
                seal = write_slices(path, shapes, _finite(save.step, mine, values(mine)), note)
            marker["files"][f"{group}/{path.name}"] = [seal.num_bytes, seal.head]
            marker["boxes"][f"{group}/{path.name}"] = {name: [box.begin, box.shape] for name, box in mine.items()}
        markers = save.folder / _MARKERS
        markers.mkdir(parents=True, exist_ok=True)
        write_text(markers / f"{rank}.json", json.dumps(marker, separators=(",", ":")))
        flush(markers)


def commit(
    save: Save,
    num_ranks: int,
    shapes: Mapping[str, Shape],
    state: Mapping[str, Any],
    health: Health | None = None,
    patience: Callable[[], float] = lambda: PATIENCE,
) -> Path:
    """Make a checkpoint of what all ranks have written; rank 0 alone calls it. One of the same step is replaced.

    Args:
        save: the checkpoint.
        num_ranks: that write a part.
        shapes: of all tensors, without padding.
        state: what the run needs to go on: anything JSON can hold.
        health: how the run is.
        patience: gives the seconds without anything new from any rank after which the others are given up.

    Raises:
        CheckpointError: ranks have not written their part, the parts do not make up the tensors, or the disk is full.
    """
    with _explained(save, save.folder):
        markers = _wait(save, num_ranks, patience)
        files, tensors = _merge(markers, shapes)
        for path, seal in files:
            size = (save.folder / path).stat().st_size
            if seal is not None and size != seal.num_bytes:
                raise CheckpointError(f"{save.folder / path} has {size:,} bytes, its writer wrote {seal.num_bytes:,}")
        write_index(save.folder, Index(save.step, state, health, files, tensors))
        remove(save.folder / _MARKERS)
        for folder in (*(save.folder / group for group in GROUPS), save.folder):
            if folder.exists():
                flush(folder)
        replaced = aside_of(save.final)
        if save.final.exists():  # the run went on from an earlier one and came here again
            save.final.rename(replaced)
        try:
            save.folder.rename(save.final)
        except OSError:
            if replaced.exists():
                replaced.rename(save.final)
            raise
        flush(save.root)
        remove(replaced)
    return save.final


def mark_lost(path: Path) -> None:
    """Write into a checkpoint, if it is there and whole, that the loss of its weights is not finite.

    Raises:
        CheckpointError: the disk is full or not writable.
    """
    if not (path / INDEX).exists():
        return
    try:
        index = open_checkpoint(path).index
    except DamagedError:  # nobody goes on from it
        return
    if index.health is None or not index.checksum:  # of other files, or of an earlier version
        return
    try:
        write_index(path, replace(index, health=replace(index.health, is_lost=True)))
    except OSError as error:
        raise CheckpointError(f"{path / INDEX} cannot be written: {error.strerror}. Remove {path}") from error


def save_whole(
    root: Path,
    step: int,
    tensors: Mapping[str, NDArray[np.floating]],
    state: Mapping[str, Any],
    health: Health | None = None,
) -> Path:
    """Write a checkpoint of whole tensors, as one process that owns them all.

    Raises:
        TrainingError: a tensor is not finite.
        CheckpointError: the disk is full or not writable.
    """
    save = Save(root, step, uuid4().hex)
    boxes = {name: Box.all_of(tensor.shape) for name, tensor in tensors.items()}
    save_part(save, 0, boxes, lambda boxes: (tensors[name] for name in boxes))
    return commit(save, 1, {name: tensor.shape for name, tensor in tensors.items()}, state, health)


@contextmanager
def _explained(save: Save, *written: Path) -> Iterator[None]:
    """Inside, an error removes what is `written`, which nobody will use and which may have filled the disk."""
    try:
        yield
    except BaseException as error:
        for path in written:
            remove(path)
        for folder in (*(save.folder / group for group in GROUPS), save.folder):
            with suppress(OSError):  # it is not there, or others have written there
                folder.rmdir()
        if not isinstance(error, OSError):
            raise
        raise CheckpointError(
            f"{save.final} could not be written: {error}. Earlier checkpoints are untouched"
        ) from error


def _finite(step: int, names: Iterable[str], tensors: Iterable[NDArray[np.floating]]) -> Iterator[NDArray[np.float32]]:
    for name, given in zip(names, tensors, strict=True):
        with np.errstate(over="ignore"):  # what float32 cannot hold is not finite in it
            values = np.asarray(given, np.float32)
        if not is_finite(values):
            raise TrainingError(
                f"after step {step}, {name} holds numbers that are not finite: the run has diverged, and nothing was "
                "saved. Go on from the last checkpoint with a lower schedule.learning_rate"
            )
        yield values


def _wait(save: Save, num_ranks: int, patience: Callable[[], float]) -> list[dict[str, Any]]:
    """The markers of all ranks, in their order."""
    found: dict[int, dict[str, Any]] = {}
    seen, since = -1, time.monotonic()
    while True:
        folder = save.folder / _MARKERS
        for path in folder.glob("[0-9]*.json") if folder.exists() else ():
            if int(path.stem) not in found:
                found[int(path.stem)] = read_json(path)
        if len(found) == num_ranks:
            return [found[rank] for rank in sorted(found)]
        size = sum(map(_size, save.folder.glob("*/rank_*")))
        if size != seen:
            seen, since = size, time.monotonic()
        waited = time.monotonic() - since
        if waited > patience():
            missing = sorted(set(range(num_ranks)) - set(found))
            have = "has not written its" if len(missing) == 1 else "have not written their"
            named = f"{missing[:8]}{' …' if missing[8:] else ''}"
            raise CheckpointError(
                f"{save.final}: {len(missing)} of {num_ranks} ranks {have} part: {named}. "
                f"For {waited:.1f} s nothing new has come. `pangu diagnose` tells what became of them. Earlier "
                "checkpoints are untouched"
            )
        time.sleep(_POLL)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # its rank has failed in this moment
        return 0


def _merge(
    markers: Iterable[Mapping[str, Any]], shapes: Mapping[str, Shape]
) -> tuple[tuple[tuple[str, Seal | None], ...], dict[str, Cells]]:
    """Files and cells of the index.

    Raises:
        CheckpointError: the boxes do not make up the tensors, each element once.
    """
    files: list[tuple[str, Seal | None]] = []
    held: dict[str, dict[Box, int]] = defaultdict(dict)
    for marker in markers:
        for path, (size, head) in marker["files"].items():
            for name, (begin, shape) in marker["boxes"][path].items():
                box = Box(tuple(begin), tuple(shape))
                if box in held[name]:
                    raise CheckpointError(f"{name}: {files[held[name][box]][0]} and {path} hold the same part of it")
                held[name][box] = len(files)
            files.append((path, Seal(size, head)))
    unknown = sorted(set(held) - set(shapes))
    if unknown:
        raise CheckpointError(f"ranks have written {', '.join(unknown[:5])}, of which the settings know nothing")
    return tuple(files), {name: _cells(name, shape, held[name]) for name, shape in shapes.items()}


def _cells(name: str, shape: Shape, held: Mapping[Box, int]) -> Cells:
    first = next((box for box in held if not any(box.begin)), None)
    if first is None:
        raise CheckpointError(f"{name}: no rank has written its first element")
    cells = Cells(shape, first.shape, ())
    places = [cells.box(place) for place in itertools.product(*map(range, cells.grid))]
    missing = [box for box in places if box not in held]
    if missing:
        raise CheckpointError(
            f"{name}: no rank has written the part that begins at {list(missing[0].begin)}, of the shape "
            f"{list(missing[0].shape)}; {len(missing)} of {math.prod(cells.grid)} are missing"
        )
    if len(held) != len(places):
        raise CheckpointError(f"{name}: ranks have written {len(held)} parts of it, of which {len(places)} make it up")
    return Cells(shape, first.shape, tuple(held[box] for box in places))
