"""Opening checkpoints and finding them. Nothing is written here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.checkpoint import earlier_formats
from pangu_alpha.checkpoint.index import FORMAT_VERSION, INDEX, WEIGHTS, Health, Index, group_of, index_of
from pangu_alpha.checkpoint.slice_file import SliceFile, unreadable
from pangu_alpha.errors import CheckpointError, DamagedError
from pangu_alpha.parallel.parameters import Shape
from pangu_alpha.parallel.parts import Box
from pangu_alpha.reading import list_folder, read_json
from pangu_alpha.run_folder import CHECKPOINTS

_MAX_NAMES = 8
"""In a message."""
_MAX_OPEN = 64
"""Files at a time: a process may have a thousand, and a checkpoint can have more."""
_STEP = re.compile(r"step_([0-9]{8,})")
_Loaded = TypeVar("_Loaded")


class Checkpoint:
    """A checkpoint on disk, of which boxes of tensors can be read. Its files are opened when they are needed."""

    def __init__(self, path: Path, index: Index) -> None:
        """Args:
        path: of its folder.
        index: of it.
        """
        self.path, self.index = path, index
        self._open: dict[int, SliceFile] = {}

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self.index.step

    @property
    def state(self) -> Mapping[str, Any]:
        """What the run needs to go on."""
        return self.index.state

    @property
    def health(self) -> Health | None:
        """How the run was, as far as it is known."""
        return self.index.health

    @property
    def is_healthy(self) -> bool:
        """Whether nothing speaks against going on from here."""
        return self.health is None or not (self.health.is_spike or self.health.is_lost)

    def of_run(self, key: str) -> Any:
        """What its state says of `key`.

        Raises:
            DamagedError: nothing.
        """
        if key not in self.state:
            raise DamagedError(f"{self.path}/{INDEX} says nothing of the run's {key}. Use another checkpoint")
        return self.state[key]

    @cached_property
    def num_bytes(self) -> int:
        """Of all its files but the index."""
        return sum(
            (self.path / name).stat().st_size if seal is None else seal.num_bytes for name, seal in self.index.files
        )

    def require(self, shapes: Mapping[str, Shape], *, weights_only: bool = False) -> None:
        """Refuse to go on unless it holds tensors of exactly these names and shapes.

        Args:
            shapes: of all tensors that are wanted, without padding.
            weights_only: whether its moments do not matter.

        Raises:
            CheckpointError: naming what is missing, unexpected, or of another shape.
        """
        found = {
            name: cells.shape
            for name, cells in self.index.tensors.items()
            if not weights_only or group_of(name) == WEIGHTS
        }
        problems = [
            f"{words} {_listed(names)}"
            for words, names in (
                ("it lacks", [name for name in shapes if name not in found]),
                ("the settings know nothing of", [name for name in found if name not in shapes]),
                (
                    "of another shape:",
                    [
                        f"{name} {list(found[name])}, in the settings {list(shape)}"
                        for name, shape in shapes.items()
                        if name in found and found[name] != shape
                    ],
                ),
            )
            if names
        ]
        if problems:
            raise CheckpointError(
                f"{self.path} is of another network: {'; '.join(problems)}. Use the model settings it was trained with"
            )

    def read(self, name: str, box: Box) -> NDArray[np.float32]:
        """A box of a tensor, with at least one element. What is read is checked.

        Raises:
            DamagedError: a file is not what was written, or holds numbers that are not finite.
        """
        cells = self.index.tensors[name]
        values: NDArray[np.float32] | None = None
        for held, number in cells.covering(box):
            common = held.intersect(box)
            file = self._file(number)
            if file.shapes.get(name) != held.shape:
                raise DamagedError(f"{file.path} is damaged: the index says that it holds {list(held.shape)} of {name}")
            piece = file.read(name, common.within(held))
            if common == box:
                values = piece
                break
            if values is None:
                values = np.empty(box.shape, np.float32)
            values[common.index_in(box)] = piece
        assert values is not None
        if not is_finite(values):
            raise DamagedError(
                f"{self.path}: {name} holds numbers that are not finite: the run had diverged when it was saved. "
                "Remove this checkpoint and use an earlier one"
            )
        return values

    def check_files(self) -> None:
        """See whether all files are there and as long as they should be; their contents are not read.

        Raises:
            DamagedError: naming the first that is not.
        """
        for name, seal in self.index.files:
            path = self.path / name
            try:
                size = path.stat().st_size
            except OSError as error:
                raise unreadable(path, error) from error
            if seal is not None and size != seal.num_bytes:
                raise DamagedError(
                    f"{path} is damaged: it has {size:,} bytes, its writer wrote {seal.num_bytes:,}. Use another "
                    "checkpoint"
                )

    def check_contents(self) -> Iterator[int]:
        """Read and check every byte of all tensors; yields the bytes of each chunk.

        Raises:
            DamagedError: naming the first file and tensor that are not what was written.
        """
        expected: dict[int, dict[str, list[Shape]]] = {number: {} for number in range(len(self.index.files))}
        for name, cells in self.index.tensors.items():
            for held, number in cells.covering(Box.all_of(cells.shape)):
                expected[number].setdefault(name, []).append(held.shape)
        for number, tensors in expected.items():
            file = self._file(number)
            for name, shapes in tensors.items():
                if shapes != [file.shapes.get(name)]:
                    raise DamagedError(
                        f"{file.path} is damaged: the index says that it holds {list(shapes[0])} of {name}"
                    )
                yield from file.check(name)
            self._open.pop(number).close()

    def close(self) -> None:
        """Let all files go. It can be read again."""
        while self._open:
            self._open.popitem()[1].close()

    def _file(self, number: int) -> SliceFile:
        if number not in self._open:
            if len(self._open) == _MAX_OPEN:
                self._open.pop(next(iter(self._open))).close()
            name, seal = self.index.files[number]
            self._open[number] = SliceFile(self.path / name, seal)
        return self._open[number]


def is_finite(values: NDArray[np.floating]) -> bool:
    """Whether all of them are. Fast where they are, and without a mask as large as they."""
    with np.errstate(all="ignore"):
        # A sum takes over whatever is not finite; it overflows by itself only for numbers that are no weights.
        return bool(np.isfinite(values.sum()) or np.isfinite(values).all())


def read_index(folder: Path) -> Index:
    """What the index of a checkpoint says, in any format. Files are looked at only in the formats without slices.

    Raises:
        DamagedError: it is missing, or not what was written.
        CheckpointError: it cannot be read now, or has a format that is not known here.
    """
    path = folder / INDEX
    try:
        fields = read_json(path)
        version = fields["version"]
        if version in earlier_formats.VERSIONS:
            return earlier_formats.index_of(folder, fields)
        if version == FORMAT_VERSION:
            return index_of(folder, fields)
    except FileNotFoundError as error:
        raise DamagedError(f"{folder} is not a checkpoint: it has no {INDEX}") from error
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path} is damaged ({error!r}): use another checkpoint") from error
    raise CheckpointError(f"{folder} has format version {version}, but this program reads 1 to {FORMAT_VERSION}")


def open_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint at `path`, with all its files, which are as long as they should be.

    Their contents are checked when they are read; those of earlier formats at once.

    Raises:
        DamagedError: it is none, or a file is missing or cut off.
        CheckpointError: it has a format that is not known here.
    """
    checkpoint = Checkpoint(path, read_index(path))
    named = step_of(path)
    if named is not None and named != checkpoint.step:
        raise DamagedError(f"{path} holds step {checkpoint.step}: the folder has another checkpoint's name. Rename it")
    checkpoint.check_files()
    return checkpoint


def step_of(path: Path) -> int | None:
    """The step that the name of a checkpoint's folder says; None for any other name, which is somebody else's."""
    found = _STEP.fullmatch(path.name)
    return int(found[1]) if found else None


def list_checkpoints(root: Path) -> list[Path]:
    """Folders of the complete checkpoints under `root`, oldest first. What is not named as a step is left out.

    Raises:
        CheckpointError: `root` cannot be read: a run that starts anew over its checkpoints loses them.
    """
    try:
        paths = [path for path in list_folder(root, "step_*") if step_of(path) is not None and (path / INDEX).exists()]
        return sorted(paths, key=lambda path: step_of(path) or 0)
    except OSError as error:
        raise CheckpointError(f"{root} cannot be read: {error.strerror}. Name the output of a run") from error


def candidates(root: Path, report: Callable[[str], None]) -> Iterator[Checkpoint]:
    """The checkpoints under `root` to go on from, the best first: the newest healthy one, ..., then those of spikes.

    Args:
        report: gets a line about each newer one that is damaged or not healthy.

    Raises:
        CheckpointError: `root` cannot be read.
    """
    unhealthy = []
    for path in reversed(list_checkpoints(root)):
        try:
            found = open_checkpoint(path)
        except DamagedError as error:
            report(f"skipping a checkpoint: {error}")
            continue
        if found.is_healthy:
            yield _reported(found, report)
            continue
        assert found.health is not None
        if found.health.is_lost:
            report(f"passing over {path}: the loss of its weights is not finite. It can be removed")
            found.close()
        else:
            report(
                f"passing over {path}: it was saved during a spike (loss {found.health.loss:.3f}, gradient norm "
                f"{found.health.grad_norm:.3g}). To use it all the same, remove the earlier ones"
            )
            unhealthy.append(found)
    yield from unhealthy


def checkpoints_at(path: Path) -> list[Path]:
    """What a user means by `path`: a checkpoint, or those of a run's folder, oldest first.

    Raises:
        CheckpointError: there is none.
    """
    if (path / INDEX).is_file():
        return [path]
    for root in (path, path / CHECKPOINTS):
        if found := list_checkpoints(root):
            return found
    raise CheckpointError(f"no checkpoint at {path}: give a step_* directory, or the output directory of a run")


def load_from(path: Path, load: Callable[[Checkpoint], _Loaded], report: Callable[[str], None]) -> _Loaded:
    """What `load` makes of the best checkpoint at `path`, see `checkpoints_at`, that it can read to the end.

    Raises:
        CheckpointError: there is none, or all are damaged or lost; or `load` refuses one.
    """
    paths = checkpoints_at(path)
    if paths == [path]:
        found = _reported(open_checkpoint(path), report)
        try:
            return load(found)
        finally:
            found.close()
    root = paths[0].parent
    for found in candidates(root, report):
        try:
            return load(found)
        except DamagedError as error:
            report(f"skipping a checkpoint: {error}")
        finally:
            found.close()
    raise CheckpointError(
        f"all {len(paths)} checkpoints under {root} are damaged, or have weights whose loss is not finite. Remove them "
        "to start anew"
    )


def _reported(checkpoint: Checkpoint, report: Callable[[str], None]) -> Checkpoint:
    if not checkpoint.index.checksum:
        report(
            f"{checkpoint.path}/index.json has no checksum of itself, as an earlier version wrote it: its step and its "
            "place in the data are taken as they are"
        )
    return checkpoint


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MAX_NAMES]) + (f" and {len(names) - _MAX_NAMES} more" if names[_MAX_NAMES:] else "")
