"""Writing and reading checkpoints so that a killed process or a bad disk never leaves a half one that looks whole.

    RUN/checkpoints/step_00000200/
        weights.safetensors      parameters, float32, named after their place in the network
        optimizer.safetensors    adam_m.* and adam_v.* of the same names
        index.json               shapes, types, checksums, its own too, and the state of the run

The directory is written under a temporary name, flushed to disk and renamed. Tensors are whole, in global shape: a
checkpoint knows nothing of the topology that wrote it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pangu_alpha.errors import CheckpointError, TrainingError
from pangu_alpha.files import ASIDE, aside_of, file_sha256, flush, remove, written_aside
from pangu_alpha.parallel.parts import Box
from pangu_alpha.reading import list_folder, read_json
from pangu_alpha.run_folder import CHECKPOINTS

FORMAT_VERSION = 2
_VERSION_WITHOUT_CHECKSUM = 1
Tensors = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk whose files have been checked against their checksums."""

    path: Path
    step: int
    """Optimizer steps done."""
    state: dict[str, Any]
    """What the run needs to go on, as it was given to `save_checkpoint`."""
    shapes: dict[str, dict[str, tuple[int, ...]]]
    """Global shape of each tensor, by group."""
    is_sealed: bool
    """Whether index.json has a checksum of itself; those of earlier versions of this package have none."""

    def require_shapes(self, group: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuse to go on unless `group` holds tensors of exactly these names and shapes.

        Raises:
            CheckpointError: it holds others; the message names one.
        """
        found = self.shapes.get(group, {})
        if shapes != found:
            name = next(name for name in sorted({*shapes, *found}) if shapes.get(name) != found.get(name))
            raise CheckpointError(
                f"{self.path} is of another network: {name} is {found.get(name, 'missing')} there and "
                f"{shapes.get(name, 'missing')} in the settings. Use the model settings it was trained with"
            )

    def read(self, name: str, box: Box) -> npt.NDArray[np.float32]:
        """A part of a tensor, with at least one element; no more than that is read.

        Raises:
            CheckpointError: the file does not hold the tensor that the index lists, or the part is not finite.
        """
        group = next(group for group, shapes in self.shapes.items() if name in shapes)
        file = self.path / f"{group}.safetensors"
        try:
            with safe_open(file, framework="numpy") as tensors:
                found = tensors.get_slice(name)
                shape, values = tuple(found.get_shape()), found[box.index]
        except SafetensorError as error:
            raise CheckpointError(f"{file}: {name} cannot be read: {error}. Use another checkpoint") from error
        if shape != self.shapes[group][name]:
            raise CheckpointError(f"{self.path}: {group}.safetensors and index.json list different tensors")
        if not np.isfinite(values).all():
            raise CheckpointError(
                f"{self.path}: {name} in {group}.safetensors holds numbers that are not finite: the run had diverged "
                "when it was saved. Remove this checkpoint and use an earlier one"
            )
        return np.asarray(values)


def not_finite(tensors: Tensors) -> str | None:
    """The first tensor that holds a number that is not finite; None when there is none."""
    return next((name for name, tensor in tensors.items() if not np.isfinite(tensor).all()), None)


def step_name(step: int) -> str:
    """The name of the directory of a step's checkpoint; names are in the order of the steps."""
    return f"step_{step:08d}"


def save_checkpoint(root: Path, step: int, groups: Mapping[str, Tensors], state: Mapping[str, Any]) -> Path:
    """Write `root`/step_XXXXXXXX and return its path; one that is already there and whole stays.

    Args:
        root: directory of all checkpoints of the run.
        step: optimizer steps done.
        groups: tensors by group and name.
        state: anything JSON can hold.

    Raises:
        TrainingError: a tensor is not finite. What was there before stays, here and below.
        CheckpointError: the disk is full or not writable.
    """
    for tensors in groups.values():
        wrong = not_finite(tensors)
        if wrong is not None:
            raise TrainingError(
                f"after step {step}, {wrong} holds numbers that are not finite: the run has diverged, and nothing was "
                "saved. Go on from the last checkpoint with a lower schedule.learning_rate"
            )
    final = root / step_name(step)
    if final.exists():
        try:
            return open_checkpoint(final).path
        except CheckpointError:
            _take_away(final)  # damaged: the run went on from an earlier one and came here again
    try:
        root.mkdir(parents=True, exist_ok=True)
        with written_aside(final) as aside:
            aside.mkdir()
            _write(aside, step, groups, state)
        flush(root)
    except (OSError, SafetensorError) as error:  # a full disk is the second: safetensors writes the file
        raise CheckpointError(f"{final} could not be written: {error}. Earlier checkpoints are untouched") from error
    return final


def open_checkpoint(path: Path) -> Checkpoint:
    """Check `path` completely and return its description.

    Raises:
        CheckpointError: not a checkpoint, another format, a file missing, or a checksum that differs.
    """
    index_path = path / "index.json"
    try:
        index = read_json(index_path)
        checksum = index.pop("checksum", None)
        version, files, step, state = index["version"], index["files"], index["step"], index["state"]
        shapes = {
            group: {name: tuple(shape) for name, shape in file["tensors"].items()} for group, file in files.items()
        }
        checksums = {group: file["sha256"] for group, file in files.items()}
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is not a checkpoint: it has no index.json") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index_path} is damaged ({error!r}): use another checkpoint") from error
    if version not in (_VERSION_WITHOUT_CHECKSUM, FORMAT_VERSION):
        raise CheckpointError(f"{path} has format version {version}, but this program reads {FORMAT_VERSION}")
    if checksum != _index_checksum(index) and (checksum is not None or version > _VERSION_WITHOUT_CHECKSUM):
        raise CheckpointError(f"{index_path} is damaged: its checksum is not its own. Use another checkpoint")
    is_sealed = checksum is not None
    for group, checksum in checksums.items():
        file = path / f"{group}.safetensors"
        if not file.is_file():
            raise CheckpointError(f"{path} is incomplete: {file.name} is missing. Use another checkpoint")
        try:
            found = file_sha256(file)
        except OSError as error:
            raise CheckpointError(f"{file} cannot be read: {error.strerror}. Use another checkpoint") from error
        if found != checksum:
            raise CheckpointError(f"{file} is damaged: its checksum is not that of index.json. Use another checkpoint")
    return Checkpoint(path, step, state, shapes, is_sealed)


def list_checkpoints(root: Path) -> list[Path]:
    """Directories of the complete checkpoints under `root`, oldest first.

    Raises:
        CheckpointError: `root` cannot be read: a run that starts anew over its checkpoints loses them.
    """
    try:
        return [path for path in list_folder(root, "step_*") if (path / "index.json").exists()]
    except OSError as error:
        raise CheckpointError(f"{root} cannot be read: {error.strerror}. Name the output of a run") from error


def newest_good_checkpoint(root: Path, report: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint under `root` that is whole, or None when there is none at all.

    Args:
        report: gets a line about each newer one that is damaged, and one when the index cannot be checked.

    Raises:
        CheckpointError: there are checkpoints, but all are damaged.
    """
    paths = list_checkpoints(root)
    for path in reversed(paths):
        try:
            return _reported(open_checkpoint(path), report)
        except CheckpointError as error:
            report(f"skipping a checkpoint: {error}")
    if paths:
        raise CheckpointError(f"all {len(paths)} checkpoints under {root} are damaged. Remove them to start anew")
    return None


def find_checkpoint(path: Path, report: Callable[[str], None]) -> Checkpoint:
    """What a user means by `path`: a checkpoint, or the newest good one of a run's directory.

    Raises:
        CheckpointError: there is none.
    """
    if (path / "index.json").is_file():
        return _reported(open_checkpoint(path), report)
    for root in (path, path / CHECKPOINTS):
        if list_checkpoints(root):
            found = newest_good_checkpoint(root, report)
            if found is not None:
                return found
    raise CheckpointError(f"no checkpoint at {path}: give a step_* directory, or the output directory of a run")


def prune_checkpoints(root: Path, keep: int, known_good: Container[Path] = ()) -> None:
    """Remove all but the newest `keep` good checkpoints, and what killed processes left half-written or half-removed.

    Damaged checkpoints do not count. Those older than the last that is kept go, too; newer ones stay until the run
    comes to their step.

    Args:
        root: directory of all checkpoints of a run, which nobody else writes to.
        keep: at least 1.
        known_good: checkpoints that need not be read again to be called good.
    """
    num_good = 0
    for path in reversed(list_checkpoints(root)):
        if num_good == keep:
            _take_away(path)
        elif path in known_good or _is_good(path):
            num_good += 1
    without_index = (path for path in root.glob("step_*") if not (path / "index.json").exists())
    for leftover in (*root.glob(".writing_*"), *root.glob(f".*{ASIDE}"), *without_index):
        remove(leftover)


def _reported(checkpoint: Checkpoint, report: Callable[[str], None]) -> Checkpoint:
    if not checkpoint.is_sealed:
        report(
            f"{checkpoint.path}/index.json has no checksum of itself, as an earlier version wrote it: its step and its "
            "place in the data are taken as they are"
        )
    return checkpoint


def _is_good(path: Path) -> bool:
    try:
        open_checkpoint(path)
    except CheckpointError:
        return False
    return True


def _take_away(path: Path) -> None:
    """Remove a checkpoint so that at no moment a half of it is there under its name."""
    aside = aside_of(path)
    path.rename(aside)
    remove(aside)


def _index_checksum(index: Mapping[str, Any]) -> str:
    """Checksum of everything else that an index says."""
    return hashlib.sha256(json.dumps(index, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _write(folder: Path, step: int, groups: Mapping[str, Tensors], state: Mapping[str, Any]) -> None:
    files = {}
    for group, tensors in groups.items():
        file = folder / f"{group}.safetensors"
        save_file(dict(tensors), file)
        flush(file)
        files[group] = {
            "sha256": file_sha256(file),
            "tensors": {name: list(tensor.shape) for name, tensor in sorted(tensors.items())},
        }
    index = {"version": FORMAT_VERSION, "step": step, "state": dict(state), "files": files}
    # As it will be read: JSON has no tuples, and knows numbers by their digits.
    index = json.loads(json.dumps(index, ensure_ascii=False, allow_nan=False))
    index_path = folder / "index.json"
    text = json.dumps({**index, "checksum": _index_checksum(index)}, indent=1, ensure_ascii=False)
    index_path.write_text(text, encoding="utf-8")
    flush(index_path)
    flush(folder)
