"""Checkpoints that many ranks write and any mesh reads, see docs/checkpoints.md. No MindSpore here."""

from pangu_alpha.checkpoint.index import Health
from pangu_alpha.checkpoint.retention import prune, remove_unfinished
from pangu_alpha.checkpoint.saving import (
    Save,
    Values,
    commit,
    mark_lost,
    save_part,
    save_whole,
    saves_in,
    step_name,
)
from pangu_alpha.checkpoint.store import (
    Checkpoint,
    candidates,
    checkpoints_at,
    list_checkpoints,
    load_from,
    open_checkpoint,
)

__all__ = [
    "Checkpoint",
    "Health",
    "Save",
    "Values",
    "candidates",
    "checkpoints_at",
    "commit",
    "list_checkpoints",
    "load_from",
    "mark_lost",
    "open_checkpoint",
    "prune",
    "remove_unfinished",
    "save_part",
    "save_whole",
    "saves_in",
    "step_name",
]
