"""Which settings may differ when a run goes on from a checkpoint.

What changes the mathematics of the network or of its update is refused: the weights and moments were made for another
one. What only changes the course of the training is said. The rest changes nothing that is computed. The data has a
fingerprint of its own, see `Trainer.restore`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pangu_alpha.checkpoint import Checkpoint, list_checkpoints, newest_good_checkpoint, step_name
from pangu_alpha.config import RunConfig
from pangu_alpha.console import say
from pangu_alpha.errors import CheckpointError
from pangu_alpha.run_folder import checkpoints_of

Effect = Literal["mathematics", "course", "nothing"]
EFFECTS: Mapping[str, Effect] = {
    "device": "nothing",
    "fuse_operators": "nothing",
    "output": "nothing",
    "tokenizer": "nothing",
    "model.dropout": "course",
    "model": "mathematics",
    "data": "nothing",
    "train.batch_size": "course",
    "train.num_micro_batches": "nothing",
    "train.seed": "course",
    "train.steps": "course",
    "train": "nothing",
    "optimizer.kind": "mathematics",
    "optimizer": "course",
    "schedule": "course",
    "loss_scale": "course",
    "parallel": "course",
}
"""The effect of each setting, or of all settings of a section that have no entry of their own."""


def compare_settings(saved: Mapping[str, Any], config: RunConfig, path: object) -> list[str]:
    """A line for each setting of `config` that changes the course of the run that was `saved`.

    Args:
        saved: the settings in a checkpoint. One that it does not know, because it is older, is not compared.
        config: those to go on with.
        path: of the checkpoint, for messages.

    Raises:
        CheckpointError: settings differ that change the mathematics; all of them are named.
    """
    wanted = dict(_leaves(config.model_dump(mode="json")))
    before = dict(_leaves(saved))
    differing = [name for name, value in wanted.items() if name in before and before[name] != value]
    refused = [name for name in differing if effect_of(name) == "mathematics"]
    if refused:
        lines = "; ".join(f"{name} is {before[name]} there and {wanted[name]} in the settings" for name in refused)
        raise CheckpointError(
            f"{path} is of another network: {lines}. Use the settings it was trained with, or set output to a new "
            "directory"
        )
    return [f"{name}: {before[name]} → {wanted[name]}" for name in differing if effect_of(name) == "course"]


def finished_checkpoint(config: RunConfig) -> Checkpoint | None:
    """The last checkpoint of a run that has all its steps already; None when there is something left to train.

    Raises:
        CheckpointError: it is of another network than `config` says.
    """
    root = checkpoints_of(config.output)
    if not any(path.name >= step_name(config.train.steps) for path in list_checkpoints(root)):
        return None
    checkpoint = newest_good_checkpoint(root, say)
    if checkpoint is None or checkpoint.step < config.train.steps:
        return None
    compare_settings(checkpoint.state["config"], config, checkpoint.path)
    return checkpoint


def effect_of(name: str) -> Effect:
    """The effect of the setting `name`, `section.key`."""
    return EFFECTS[name] if name in EFFECTS else EFFECTS[name.partition(".")[0]]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
