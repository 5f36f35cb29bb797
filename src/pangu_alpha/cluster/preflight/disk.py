"""Room for the checkpoints."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path

from pangu_alpha.cluster.preflight.finding import Finding, bad, ok
from pangu_alpha.config import RunConfig
from pangu_alpha.console import si
from pangu_alpha.parallel.parameters import num_parameters
from pangu_alpha.run_folder import CHECKPOINTS

BYTES_A_PARAMETER = 3 * 4
"""In a checkpoint: the weight and two Adam moments, float32."""


def check_disk(config: RunConfig) -> list[Finding]:
    """Whether the output directory can be written and holds all checkpoints that will ever be there at once.

    That is `keep_checkpoints`, those that `keep_every` keeps, and the one being written, each 12 bytes a parameter,
    less what this run's checkpoints take already.
    """
    folder = _nearest_existing(config.output)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return [bad("disk", f"{folder} cannot be written", "set output to a directory that this user can write")]
    one = BYTES_A_PARAMETER * num_parameters(config.model)
    train = config.train
    milestones = train.steps // math.lcm(train.checkpoint_every, train.keep_every) if train.keep_every else 0
    count = train.keep_checkpoints + milestones + 1
    present = sum(path.stat().st_size for path in (config.output / CHECKPOINTS).rglob("*.safetensors"))
    needed = max(count * one - present, 0)
    free = shutil.disk_usage(folder).free
    found = f"{si(free)}B free at {folder}, {si(needed)}B needed for {count} checkpoints of {si(one)}B"
    if free >= needed:
        return [ok("disk", found)]
    fix = "free space, set output to a larger disk, lower train.keep_checkpoints, or raise train.keep_every"
    return [bad("disk", found, fix)]


def _nearest_existing(path: Path) -> Path:
    return next(parent for parent in (path.absolute(), *path.absolute().parents) if parent.exists())
