"""`pangu train`: train a network, or go on where an earlier start of the same run was stopped."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.cli.backends import Reporter, emulated_processes, mindspore_backend, reporting
from pangu_alpha.cli.train_tasks import measure_tasks, open_tasks
from pangu_alpha.console import say
from pangu_alpha.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pangu_alpha.config import RunConfig
    from pangu_alpha.emulator.processes import Processes
    from pangu_alpha.training.backend import Backend


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.description = (
        "Train a network. Run the same command again to go on from the newest good checkpoint in the output directory."
    )
    parser.epilog = (
        "examples:\n  pangu train configs/tiny_cpu.yaml\n  pangu train tiny_cpu train.steps=200 output=runs/short\n"
        "  pangu train tiny_cpu --weights runs/novel output=runs/poems data.train='[{path: poems}]'\n"
        "  bash launch/train_msrun.sh --workers 2 configs/tiny_cpu.yaml\n"
        "  pangu train tiny_cpu train.num_micro_batches=2 --mesh dp=2,mp=2,pp=2\n"
        "  mpirun -n 8 pangu train tiny_cpu train.num_micro_batches=2 --backend emulator --mesh dp=2,mp=2,pp=2\n"
        "  pangu launch rank-table 350m hccl_8p.json --hardware 910b"
    )
    parser.add_argument("recipe", help="a YAML file or the name of a shipped recipe")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that replace the recipe's")
    parser.add_argument(
        "--backend",
        choices=("mindspore", "emulator"),
        help="mindspore: the recipe's device computes; emulator: this machine executes the programs that the ranks of "
        "an Ascend cluster would, the default where a CPU is to train with mp or pp",
    )
    parser.add_argument(
        "--mesh", default="", metavar="dp=D,mp=M,pp=P", help="a short way of writing parallel.dp=D parallel.mp=M ..."
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="PATH",
        help="begin with these weights (a step_* folder or a run's output, imported or trained here) instead of drawn "
        "ones, with a new schedule and the first sample; a run that has checkpoints of its own goes on from them",
    )
    parser.add_argument(
        "--hardware",
        metavar="CHIP",
        help="write what `pangu plan` expects of a step on this chip (name or profile) beside each measured one: "
        "planned_seconds in metrics.jsonl, which `pangu status` reads",
    )
    parser.add_argument(
        "--planned-seconds",
        type=float,
        metavar="S",
        help="write this in place of what --hardware gives: `pangu launch rank-table` has found it with its table",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show MindSpore's warnings")


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu train ...`."""
    from pangu_alpha.config import load_config
    from pangu_alpha.training.resuming import say_if_finished
    from pangu_alpha.training.runnable import default_backend, processes_of, require_runnable

    config = load_config(
        arguments.recipe, [*_mesh_overrides(arguments.mesh, arguments.overrides), *arguments.overrides]
    )
    num_processes = processes_of(os.environ)
    kind = arguments.backend or default_backend(config, num_processes)
    # The emulator's processes are not those of a launcher: `Processes` counts them.
    require_runnable(config, kind, None if kind == "emulator" else num_processes)
    planned = _planned_seconds(config, arguments)
    if say_if_finished(config):
        return
    processes = emulated_processes(config, kind)
    with reporting(config, processes) as report:
        _train(config, arguments, report, processes, planned)


def _mesh_overrides(mesh: str, overrides: Sequence[str]) -> list[str]:
    named = {item.partition("=")[0] for item in overrides}
    found: dict[str, str] = {}
    for part in mesh.split(",") if mesh else []:
        axis, name = part.partition("=")[0], f"parallel.{part.partition('=')[0]}"
        if axis not in ("dp", "mp", "pp"):
            raise ConfigError(f"--mesh {mesh}: {part!r} is not of the form dp=2, mp=2 or pp=2")
        if name in found or name in named:
            raise ConfigError(f"--mesh {mesh}: {axis} is given twice, and one would win without a word: leave one out")
        found[name] = f"parallel.{part}"
    return list(found.values())


def _planned_seconds(config: RunConfig, arguments: argparse.Namespace) -> float | None:
    seconds: float | None = arguments.planned_seconds
    if seconds is not None:
        if not 0 < seconds < math.inf:
            raise ConfigError(f"--planned-seconds {seconds:g}: give a number above 0")
        return seconds
    if arguments.hardware is None:
        return None
    from pangu_alpha.planner.hardware import load_hardware
    from pangu_alpha.planner.search import found_of

    return found_of(config, load_hardware(arguments.hardware)).account.seconds


def _train(
    config: RunConfig,
    arguments: argparse.Namespace,
    report: Reporter,
    processes: Processes | None,
    planned_seconds: float | None,
) -> None:
    from pangu_alpha.checkpoint import list_checkpoints
    from pangu_alpha.data import open_training_data, open_validation_data
    from pangu_alpha.run_folder import CHECKPOINTS
    from pangu_alpha.training.resuming import require_resumable
    from pangu_alpha.training.starting import check_weights

    weights, tokenizer_fingerprint = arguments.weights, None
    if config.tokenizer is not None:
        from pangu_alpha.tokenizer import load_tokenizer

        tokenizer_fingerprint = load_tokenizer(config.tokenizer).fingerprint
    training_data = open_training_data(config, tokenizer_fingerprint)
    validation_data = open_validation_data(config, tokenizer_fingerprint) if config.data.validation else None
    plans = open_tasks(config, "mindspore" if processes is None else "emulator")
    require_resumable(config, training_data.fingerprint)
    if weights is not None and not list_checkpoints(config.output / CHECKPOINTS):
        check_weights(weights, config.model, training_data.tokenizer_fingerprint)
    # MindSpore takes seconds to import; everything above can fail without it.
    from pangu_alpha.runtime.device import prepare_environment

    prepare_environment(arguments.verbose)
    if processes is None:
        found = mindspore_backend(config, report, measures=validation_data is not None or bool(config.tasks.names))
        backend, network = found.backend, found.network
    else:
        backend, network = _emulator(config, report, processes), None
    from pangu_alpha.training.callbacks import default_callbacks
    from pangu_alpha.training.trainer import Trainer

    measuring = [measure_tasks(config, plans, backend, network)] if config.tasks.names else []
    callbacks = default_callbacks(validation_data, *measuring, planned_seconds=planned_seconds)
    trainer = Trainer(config, training_data, backend, callbacks, report)
    trainer.resume()
    if weights is not None:
        trainer.start_from(weights)
    if trainer.is_main:
        _introduce(config, trainer.progress.step, processes)
    trainer.run()
    if trainer.stop_signal is not None:
        if trainer.is_main:
            say(f"stopped at step {trainer.progress.step}; the same command goes on from there")
        sys.exit(128 + trainer.stop_signal)


def _emulator(config: RunConfig, report: Reporter, processes: Processes) -> Backend:
    from pangu_alpha.runtime.device import set_device
    from pangu_alpha.training.scalars import may_skip

    set_device("cpu", config.fuse_operators, may_skip(config))
    report("compiling")
    from pangu_alpha.emulator.backend import emulated_backend

    return emulated_backend(config, processes)


def _introduce(config: RunConfig, step: int, processes: Processes | None) -> None:
    from pangu_alpha.config import tokens_per_step
    from pangu_alpha.parallel.parameters import num_parameters

    tokens = tokens_per_step(config)
    where = processes or f"{config.parallel.num_devices} {config.device} process(es)"
    say(
        f"{num_parameters(config.model):,} parameters, {tokens:,} tokens a step "
        f"({config.train.batch_size} samples × {config.model.seq_length}), {config.train.steps:,} steps = "
        f"{tokens * config.train.steps:,} tokens, {where}"
    )
    if step:
        say(f"going on after step {step}")
    elif processes is None:
        say("compiling; the first step takes a while")
