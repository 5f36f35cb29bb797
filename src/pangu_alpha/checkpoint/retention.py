"""Which checkpoints stay."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from pangu_alpha.checkpoint.index import INDEX
from pangu_alpha.checkpoint.store import list_checkpoints, open_checkpoint, step_of
from pangu_alpha.errors import CheckpointError, DamagedError
from pangu_alpha.files import ASIDE, aside_of, remove

_FILES = {"weights.safetensors", "optimizer.safetensors"}
"""Of formats 1 and 2, beside the index."""


def prune(
    root: Path,
    keep: int,
    *,
    step: int | None = None,
    keep_every: int | None = None,
    damaged: Container[Path] = (),
    attempt: str | None = None,
) -> None:
    """Remove the checkpoints that are not to be kept, and what dead processes left.

    The newest `keep` stay, those whose step `keep_every` divides, and the newest healthy one. Damaged ones do not
    count; those older than the last that is kept go, too. A run that went on from an earlier one has yet to come to the
    steps of the newer ones: these do not count either, and stay until it does.

    Args:
        root: folder of all checkpoints of a run, which no other job writes to.
        keep: at least 1.
        step: that the run has come to; None: the newest.
        keep_every: steps; None: no such milestones.
        damaged: checkpoints that are known to be, whatever they look like.
        attempt: this start's; what its ranks are writing stays. None: nobody writes.
    """
    num_good, has_healthy = 0, False
    for path in reversed(list_checkpoints(root)):
        if step is not None and (step_of(path) or 0) > step:
            continue
        try:
            is_good, is_healthy = (False, False) if path in damaged else _judged(path)
        except CheckpointError:  # of a later version, or not readable now: it may be whole
            continue
        if num_good < keep:
            num_good += is_good
            has_healthy |= is_healthy
        elif is_healthy and not has_healthy:
            has_healthy = True
        elif not (is_good and keep_every and (step_of(path) or 1) % keep_every == 0):
            _take_away(path)
    remove_unfinished(root, attempt)


def remove_unfinished(root: Path, attempt: str | None) -> None:
    """Remove what dead processes left half-written or half-removed; what the ranks of `attempt` are writing stays.

    What turns out to be whole gets its name: its process died before it could give it, or take the files away.
    """
    asides = [path for path in root.glob(f".*{ASIDE}") if f".{attempt}{ASIDE}" not in path.name]
    for aside in sorted(asides, key=_time, reverse=True):
        final = root / aside.name.split(".")[1]
        if step_of(final) is not None and not final.exists() and _is_whole(aside):
            aside.rename(final)
        else:
            remove(aside)
    for leftover in root.glob(".writing_*"):
        remove(leftover)
    for folder in root.glob("step_*"):  # an earlier version that died while it removed an old one
        if step_of(folder) is not None and folder.is_dir() and {item.name for item in folder.iterdir()} <= _FILES:
            remove(folder)


def _time(path: Path) -> float:
    index = path / INDEX
    return index.stat().st_mtime if index.exists() else 0.0


def _judged(path: Path) -> tuple[bool, bool]:
    """Whether it looks whole, and whether it is also healthy.

    Raises:
        CheckpointError: that cannot be said.
    """
    try:
        return True, open_checkpoint(path).is_healthy
    except DamagedError:
        return False, False


def _is_whole(path: Path) -> bool:
    try:
        return _judged(path)[0]
    except CheckpointError:
        return False


def _take_away(path: Path) -> None:
    """Remove a checkpoint so that at no moment a half of it is there under its name."""
    aside = aside_of(path)
    path.rename(aside)
    remove(aside)
