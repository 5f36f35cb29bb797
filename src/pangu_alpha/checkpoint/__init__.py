"""Checkpoints: a directory a step, tensors in safetensors files, everything else in `index.json`. No MindSpore here."""

from pangu_alpha.checkpoint.store import (
    Checkpoint,
    find_checkpoint,
    list_checkpoints,
    newest_good_checkpoint,
    open_checkpoint,
    prune_checkpoints,
    save_checkpoint,
    step_name,
)

__all__ = [
    "Checkpoint",
    "find_checkpoint",
    "list_checkpoints",
    "newest_good_checkpoint",
    "open_checkpoint",
    "prune_checkpoints",
    "save_checkpoint",
    "step_name",
]
