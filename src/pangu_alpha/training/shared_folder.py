"""Whether all processes of a job see the same folder. Found out before the training, not when it is saved."""

from __future__ import annotations

import time
from pathlib import Path

from pangu_alpha.files import ASIDE, remove
from pangu_alpha.training.workers import Workers

PATIENCE = 10.0
"""Seconds until a file that another host has made must be seen: network file systems remember what was not there."""


def is_shared(folder: Path, attempt: str, workers: Workers, is_main: bool) -> bool:
    """Whether every process sees what the main one writes to `folder`. All must ask.

    Args:
        folder: is made.
        attempt: the same on all, and new at each start.
        workers: what they agree by.
        is_main: whether this is the main process.

    Raises:
        OSError: the folder cannot be written.
    """
    probe = folder / f".{attempt}{ASIDE}"
    if is_main:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
    workers.largest(0)  # now it is there
    deadline = time.monotonic() + PATIENCE
    while not probe.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    is_missing = bool(workers.largest(not probe.exists()))
    if is_main:
        remove(probe)
    return not is_missing
