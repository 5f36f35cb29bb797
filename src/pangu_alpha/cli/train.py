"""`pangu train`: train a network, or go on where an earlier start of the same run was stopped."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from pangu_alpha.cluster.heartbeat import HeartbeatWriter
from pangu_alpha.config import RunConfig, load_config, num_parameters, tokens_per_step
from pangu_alpha.console import say

if TYPE_CHECKING:
    from pangu_alpha.training.trainer import Trainer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.description = (
        "Train a network. Run the same command again to go on from the newest good checkpoint in the output directory."
    )
    parser.epilog = (
        "examples:\n  pangu train configs/tiny_cpu.yaml\n  pangu train tiny_cpu train.steps=200 output=runs/short\n"
        "  bash launch/train_msrun.sh --workers 2 configs/tiny_cpu.yaml"
    )
    parser.add_argument("recipe", help="a YAML file or the name of a shipped recipe")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that replace the recipe's")
    parser.add_argument("-v", "--verbose", action="store_true", help="show MindSpore's warnings")


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu train ...`."""
    config = load_config(arguments.recipe, arguments.overrides)
    # The rank that the launcher gave this process: the one that its log is named after.
    with HeartbeatWriter(config, int(os.environ.get("RANK_ID") or 0)) as heartbeat:
        _train(config, arguments.verbose, heartbeat)


def _train(config: RunConfig, verbose: bool, heartbeat: HeartbeatWriter) -> None:
    from pangu_alpha.data import open_training_data, open_validation_data

    tokenizer_fingerprint = None
    if config.tokenizer is not None:
        from pangu_alpha.tokenizer import load_tokenizer

        tokenizer_fingerprint = load_tokenizer(config.tokenizer).fingerprint
    training_data = open_training_data(config, tokenizer_fingerprint)
    validation_data = open_validation_data(config, tokenizer_fingerprint) if config.data.validation else None
    # MindSpore takes seconds to import; everything above can fail without it.
    from pangu_alpha.training.device import join_workers, prepare_environment, set_device

    prepare_environment(verbose)
    set_device(config.device, config.fuse_operators)
    heartbeat.report("joining")
    rank = join_workers(config.device, config.parallel.num_devices)
    heartbeat.report("starting")
    from pangu_alpha.training.callbacks import default_callbacks
    from pangu_alpha.training.trainer import Trainer

    trainer = Trainer(config, training_data, validation_data, default_callbacks(), rank, heartbeat.report)
    _resume(trainer)
    if trainer.is_main:
        _introduce(config, trainer.progress.step)
    trainer.run()
    if trainer.stop_signal is not None:
        if trainer.is_main:
            say(f"stopped at step {trainer.progress.step}; the same command goes on from there")
        sys.exit(128 + trainer.stop_signal)


def _resume(trainer: Trainer) -> None:
    from pangu_alpha.checkpoint import newest_good_checkpoint
    from pangu_alpha.training.callbacks import checkpoint_root

    checkpoint = newest_good_checkpoint(checkpoint_root(trainer.config), say)
    if checkpoint is not None:
        trainer.restore(checkpoint)


def _introduce(config: RunConfig, step: int) -> None:
    tokens = tokens_per_step(config)
    say(
        f"{num_parameters(config.model):,} parameters, {tokens:,} tokens a step "
        f"({config.train.batch_size} samples × {config.model.seq_length}), {config.train.steps:,} steps = "
        f"{tokens * config.train.steps:,} tokens, {config.parallel.num_devices} {config.device} process(es)"
    )
    say(f"going on after step {step}" if step else "compiling; the first step takes a while")
