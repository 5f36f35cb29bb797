"""Which settings may differ when a run goes on from a checkpoint.

What changes the mathematics of the network or of its update is refused: the weights and moments were made for another
one. What only changes the course of the training is said. The rest changes nothing that is computed. The data has a
fingerprint of its own, see `Trainer.restore`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pangu_alpha.checkpoint import Checkpoint, candidates, list_checkpoints, step_name
from pangu_alpha.config import ModelConfig, RunConfig
from pangu_alpha.console import say
from pangu_alpha.errors import CheckpointError, DamagedError
from pangu_alpha.run_folder import CHECKPOINTS

_MAX_BYTES = 16 << 30
"""Of a checkpoint that is read before its run is called finished: more takes too long."""
Effect = Literal["mathematics", "course", "nothing"]
EFFECTS: Mapping[str, Effect] = {
    "device": "nothing",
    "fuse_operators": "nothing",
    "output": "nothing",
    "tokenizer": "nothing",
    "model.num_layers": "mathematics",
    "model.hidden_size": "mathematics",
    "model.num_heads": "mathematics",
    "model.vocab_size": "mathematics",
    "model.seq_length": "mathematics",
    "model.final_norm": "mathematics",
    "model.dropout": "course",
    "model.gelu": "mathematics",
    "model.compute_dtype": "mathematics",
    "data.train": "nothing",
    "data.validation": "nothing",
    "data.mix": "nothing",
    "data.skip_samples": "course",
    "train.steps": "course",
    "train.batch_size": "course",
    "train.num_micro_batches": "nothing",
    "train.seed": "nothing",
    "train.log_every": "nothing",
    "train.validate_every": "nothing",
    "train.checkpoint_every": "nothing",
    "train.checkpoint_minutes": "nothing",
    "train.background_saving": "nothing",
    "train.keep_checkpoints": "nothing",
    "train.keep_every": "nothing",
    "optimizer.kind": "mathematics",
    "optimizer.beta1": "course",
    "optimizer.beta2": "course",
    "optimizer.eps": "course",
    "optimizer.weight_decay": "course",
    "optimizer.clip_norm": "course",
    "schedule.learning_rate": "course",
    "schedule.end_learning_rate": "course",
    "schedule.warmup_steps": "course",
    "schedule.decay_steps": "course",
    "loss_scale.initial": "nothing",
    "loss_scale.factor": "course",
    "loss_scale.window": "course",
    "loss_scale.max_overflows": "nothing",
    "spikes.skip": "course",
    "spikes.window": "course",
    "spikes.sigmas": "course",
    "spikes.max_skips": "nothing",
    "tasks.names": "nothing",
    "tasks.data": "nothing",
    "tasks.every": "nothing",
    "tasks.shots": "nothing",
    "tasks.limit": "nothing",
    "parallel.dp": "course",
    "parallel.mp": "course",
    "parallel.pp": "course",
    "parallel.sequence_parallel": "course",
    "parallel.optimizer_sharding": "course",
    "parallel.rematerialisation": "nothing",
    "parallel.rematerialised_stages": "course",
    "parallel.schedule": "course",
    "parallel.num_chunks": "course",
}
"""The effect of every setting. Each has its own entry, so that nobody adds a setting without thinking of a resume.

What `data` is made of and `train.seed`, its order, are "nothing" here because its fingerprint decides.
`loss_scale.initial` is: a resumed run has its scale already.
"""


def compare_settings(saved: Mapping[str, Any], config: RunConfig, path: object) -> list[str]:
    """A line for each setting of `config` that changes the course of the run that was `saved`.

    Args:
        saved: the settings in a checkpoint. One that it does not know, because it is older, is not compared, unless
            it is of the network: that had its default then.
        config: those to go on with.
        path: of the checkpoint, for messages.

    Raises:
        CheckpointError: settings differ that change the mathematics; all of them are named.
    """
    wanted = dict(_leaves(config.model_dump(mode="json")))
    before = dict(_leaves(saved))
    for name, field in ModelConfig.model_fields.items():
        if not field.is_required():  # what an older checkpoint does not know of its network was as it is by default
            before.setdefault(f"model.{name}", field.default)
    differing = [name for name, value in wanted.items() if name in before and before[name] != value]
    refused = [name for name in differing if effect_of(name) == "mathematics"]
    if refused:
        lines = "; ".join(f"{name} is {before[name]} there and {wanted[name]} in the settings" for name in refused)
        raise CheckpointError(
            f"{path} is of another network: {lines}. Use the settings it was trained with, or set output to a new "
            "directory"
        )
    return [f"{name}: {before[name]} → {wanted[name]}" for name in differing if effect_of(name) == "course"]


def require_same_run(checkpoint: Checkpoint, config: RunConfig, data_fingerprint: str) -> list[str]:
    """Refuse a checkpoint with which a run of `config` cannot go on; a line for each setting that changes its course.

    Raises:
        CheckpointError: it is of another network or of other training data, or of no run at all.
    """
    theirs = checkpoint.of_run("data_fingerprint")
    if theirs is None:
        raise CheckpointError(
            f"{checkpoint.path} holds weights alone, and no run to go on with: start a new one with "
            f"--weights {checkpoint.path} and another output"
        )
    lines = compare_settings(checkpoint.of_run("config"), config, checkpoint.path)
    if theirs != data_fingerprint:
        raise CheckpointError(
            f"{checkpoint.path} was trained on other data (files, weights, seq_length or seed differ): its place "
            "in the data means nothing here. Restore the data settings, or set output to a new directory"
        )
    return lines


def require_resumable(config: RunConfig, data_fingerprint: str) -> None:
    """Refuse, before anything is compiled, a run that could not go on from the newest checkpoint it has.

    Raises:
        CheckpointError: see `require_same_run`.
    """
    newest = next(candidates(config.output / CHECKPOINTS, lambda line: None), None)
    if newest is not None:
        require_same_run(newest, config, data_fingerprint)
        newest.close()


def say_if_finished(config: RunConfig) -> bool:
    """Whether the run has all its steps already; says so, and what to do to train more.

    Raises:
        CheckpointError: it is of another network than `config` says.
    """
    root = config.output / CHECKPOINTS
    if not any(path.name >= step_name(config.train.steps) for path in list_checkpoints(root)):
        return False
    last = (found for found in candidates(root, lambda line: None) if found.step >= config.train.steps)
    checkpoint = next(last, None)
    if checkpoint is None or _is_damaged(checkpoint):
        return False
    compare_settings(checkpoint.of_run("config"), config, checkpoint.path)
    step, steps = checkpoint.step, config.train.steps
    where = f"step {step} of {steps}" if step == steps else f"step {step}, past the {steps} of train.steps,"
    say(
        f"this run is finished: {where} is in {checkpoint.path}. To train further, raise train.steps above {step}; "
        "to train anew, set output to a new directory"
    )
    return True


def _is_damaged(checkpoint: Checkpoint) -> bool:
    """Whether its contents are not what was written; those of a large one are taken as they are."""
    if checkpoint.num_bytes > _MAX_BYTES:
        return False
    try:
        for _ in checkpoint.check_contents():
            pass
    except DamagedError:
        return True
    return False


def effect_of(name: str) -> Effect:
    """The effect of the setting `name`, `section.key`."""
    return EFFECTS[name]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
