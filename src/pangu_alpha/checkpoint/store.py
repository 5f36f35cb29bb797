"""Writing and reading checkpoints so that a killed process or a bad disk never leaves a half one that looks whole.

    RUN/checkpoints/step_00000200/
        weights.safetensors      parameters, float32, named after their place in the network
        optimizer.safetensors    adam_m.* and adam_v.* of the same names
        index.json               shapes, types, checksums, and the state of the run

The directory is written under a temporary name, flushed to disk and renamed. Tensors are whole, in global shape: a
checkpoint knows nothing of the topology that wrote it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from pangu_alpha.errors import CheckpointError

FORMAT_VERSION = 1
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

    def load(self, group: str) -> dict[str, npt.NDArray[np.float32]]:
        """The tensors of `group` (`weights` or `optimizer`) by name.

        Raises:
            CheckpointError: the file does not hold the tensors that the index lists.
        """
        tensors: dict[str, npt.NDArray[np.float32]] = load_file(self.path / f"{group}.safetensors")
        if {name: tensor.shape for name, tensor in tensors.items()} != self.shapes[group]:
            raise CheckpointError(f"{self.path}: {group}.safetensors and index.json list different tensors")
        return tensors


def save_checkpoint(root: Path, step: int, groups: Mapping[str, Tensors], state: Mapping[str, Any]) -> Path:
    """Write `root`/step_XXXXXXXX and return its path; one that is already there and whole stays.

    Args:
        root: directory of all checkpoints of the run.
        step: optimizer steps done.
        groups: tensors by group and name.
        state: anything JSON can hold.

    Raises:
        CheckpointError: the disk is full or not writable. What was there before is untouched.
    """
    final = root / f"step_{step:08d}"
    if final.exists():
        try:
            return open_checkpoint(final).path
        except CheckpointError:
            shutil.rmtree(final)  # damaged: the run went on from an earlier one and came here again
    try:
        root.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".writing_", dir=root))
    except OSError as error:
        raise CheckpointError(f"{root} cannot be written: {error}") from error
    try:
        _write(aside, step, groups, state)
        aside.chmod(0o755)
        aside.rename(final)
        _flush(root)
    except (OSError, SafetensorError) as error:  # a full disk is the second: safetensors writes the file
        raise CheckpointError(f"{final} could not be written: {error}. Earlier checkpoints are untouched") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return final


def open_checkpoint(path: Path) -> Checkpoint:
    """Check `path` completely and return its description.

    Raises:
        CheckpointError: not a checkpoint, another format, a file missing, or a checksum that differs.
    """
    index_path = path / "index.json"
    try:
        index = json.loads(index_path.read_text(encoding="utf-8"))
        version, files, step, state = index["version"], index["files"], index["step"], index["state"]
        shapes = {
            group: {name: tuple(shape) for name, shape in file["tensors"].items()} for group, file in files.items()
        }
        checksums = {group: file["sha256"] for group, file in files.items()}
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is not a checkpoint: it has no index.json") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index_path} is damaged ({error!r}): use another checkpoint") from error
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{path} has format version {version}, but this program reads {FORMAT_VERSION}")
    for group, checksum in checksums.items():
        file = path / f"{group}.safetensors"
        if not file.is_file():
            raise CheckpointError(f"{path} is incomplete: {file.name} is missing. Use another checkpoint")
        if _sha256(file) != checksum:
            raise CheckpointError(f"{file} is damaged: its checksum is not that of index.json. Use another checkpoint")
    return Checkpoint(path, step, state, shapes)


def list_checkpoints(root: Path) -> list[Path]:
    """Directories of the complete checkpoints under `root`, oldest first."""
    return sorted(path.parent for path in root.glob("step_*/index.json"))


def newest_good_checkpoint(root: Path, report: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint under `root` that is whole, or None when there is none at all.

    Args:
        report: gets a line about each newer one that is damaged.

    Raises:
        CheckpointError: there are checkpoints, but all are damaged.
    """
    paths = list_checkpoints(root)
    for path in reversed(paths):
        try:
            return open_checkpoint(path)
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
        return open_checkpoint(path)
    for root in (path, path / "checkpoints"):
        if list_checkpoints(root):
            found = newest_good_checkpoint(root, report)
            if found is not None:
                return found
    raise CheckpointError(f"no checkpoint at {path}: give a step_* directory, or the output directory of a run")


def prune_checkpoints(root: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints, and what killed processes left half-written."""
    for path in list_checkpoints(root)[:-keep]:
        # The index goes first: from then on the directory no longer counts as a checkpoint.
        (path / "index.json").unlink()
        shutil.rmtree(path, ignore_errors=True)
    for leftover in root.glob(".writing_*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _write(folder: Path, step: int, groups: Mapping[str, Tensors], state: Mapping[str, Any]) -> None:
    files = {}
    for group, tensors in groups.items():
        file = folder / f"{group}.safetensors"
        save_file(dict(tensors), file)
        _flush(file)
        files[group] = {
            "sha256": _sha256(file),
            "tensors": {name: list(tensor.shape) for name, tensor in sorted(tensors.items())},
        }
    index = {"version": FORMAT_VERSION, "step": step, "state": dict(state), "files": files}
    index_path = folder / "index.json"
    index_path.write_text(json.dumps(index, indent=1, ensure_ascii=False), encoding="utf-8")
    _flush(index_path)
    _flush(folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def _flush(path: Path) -> None:
    """Make sure that `path` is on the disk, not only in the system's memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
