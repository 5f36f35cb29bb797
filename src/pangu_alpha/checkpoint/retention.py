"""Which checkpoints stay."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from pangu_alpha.checkpoint.index import INDEX
from pangu_alpha.checkpoint.store import list_checkpoints, open_checkpoint
from pangu_alpha.errors import CheckpointError
from pangu_alpha.files import ASIDE, aside_of, remove


def prune(
    root: Path,
    keep: int,
    *,
    step: int | None = None,
    keep_every: int | None = None,
    damaged: Container[Path] = (),
    attempt: str = "none",
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
        attempt: this start's; what its ranks are writing stays.
    """
    num_good, has_healthy = 0, False
    for path in reversed(list_checkpoints(root)):
        if step is not None and _step(path) > step:
            continue
        is_good, is_healthy = (False, False) if path in damaged else _judged(path)
        if num_good < keep:
            num_good += is_good
            has_healthy |= is_healthy
        elif is_healthy and not has_healthy:
            has_healthy = True
        elif not (is_good and keep_every and _step(path) % keep_every == 0):
            _take_away(path)
    remove_unfinished(root, attempt)


def remove_unfinished(root: Path, attempt: str) -> None:
    """Remove what dead processes left half-written or half-removed; what the ranks of `attempt` are writing stays.

    What turns out to be whole gets its name: its process died before it could give it, or take the files away.
    """
    asides = [path for path in root.glob(f".*{ASIDE}") if f".{attempt}{ASIDE}" not in path.name]
    for aside in sorted(asides, key=_time, reverse=True):
        final = root / aside.name.split(".")[1]
        if final.name.startswith("step_") and not final.exists() and _judged(aside)[0]:
            aside.rename(final)
        else:
            remove(aside)
    for leftover in (*root.glob(".writing_*"), *root.glob("step_*")):
        if not (leftover / INDEX).exists():
            remove(leftover)


def _time(path: Path) -> float:
    index = path / INDEX
    return index.stat().st_mtime if index.exists() else 0.0


def _judged(path: Path) -> tuple[bool, bool]:
    """Whether it looks whole, and whether it is also healthy."""
    try:
        return True, open_checkpoint(path).is_healthy
    except CheckpointError:
        return False, False


def _step(path: Path) -> int:
    digits = path.name.removeprefix("step_")
    return int(digits) if digits.isascii() and digits.isdigit() else 1


def _take_away(path: Path) -> None:
    """Remove a checkpoint so that at no moment a half of it is there under its name."""
    aside = aside_of(path)
    path.rename(aside)
    remove(aside)
