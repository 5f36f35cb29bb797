"""A trained network that the ranks of a recipe share, for `pangu evaluate perplexity` and `tasks --recipe`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pangu_alpha.cli.backends import emulated_processes, mindspore_backend, reporting
from pangu_alpha.errors import ConfigError

if TYPE_CHECKING:
    from pangu_alpha.checkpoint import Checkpoint
    from pangu_alpha.config import RunConfig
    from pangu_alpha.data import HeldOut
    from pangu_alpha.tokenizer import Tokenizer
    from pangu_alpha.training.runnable import BackendName
    from pangu_alpha.training.workers import Workers


@dataclass(frozen=True)
class Recipe:
    """What is known before anything is compiled."""

    config: RunConfig
    kind: BackendName
    tokenizer: Tokenizer


@dataclass(frozen=True)
class SharedNetwork:
    """The network with its weights, in every process of the job."""

    checkpoint: Checkpoint
    mean_loss: Callable[[HeldOut], float]
    """Of a token, in nats. All processes must ask."""
    workers: Workers
    is_main: bool
    """Whether this process is the one that tells."""


def add_recipe_argument(parser: argparse.ArgumentParser) -> None:
    """Declare --recipe."""
    parser.add_argument(
        "--recipe",
        nargs="+",
        metavar="RECIPE",
        help="compute as this recipe's ranks, with its overrides: what they share, on which devices",
    )


def open_recipe(arguments: argparse.Namespace) -> Recipe:
    """The recipe of --recipe, --device and --tokenizer, for the weights of --checkpoint.

    Raises:
        ConfigError: it cannot run here.
        CheckpointError: the weights are of another network.
        TokenizerError: they belong to another tokenizer.
    """
    from pangu_alpha.config import load_config
    from pangu_alpha.tokenizer import load_tokenizer
    from pangu_alpha.training.runnable import default_backend, processes_of, require_runnable
    from pangu_alpha.training.starting import check_weights

    recipe, *overrides = arguments.recipe
    device = [] if arguments.device is None else [f"device={arguments.device}"]
    config = load_config(recipe, [*overrides, *device])
    if arguments.batch_size is not None:
        raise ConfigError("--batch-size with --recipe: the ranks' programs are made for train.batch_size; set that")
    num_processes = processes_of(os.environ)
    kind = default_backend(config, num_processes)
    require_runnable(config, kind, None if kind == "emulator" else num_processes, trains=False)
    path = arguments.tokenizer or config.tokenizer
    if path is None:
        raise ConfigError("the recipe names no tokenizer: give it with --tokenizer")
    tokenizer = load_tokenizer(path)
    check_weights(arguments.checkpoint, config.model, tokenizer.fingerprint)
    return Recipe(config, kind, tokenizer)


@contextmanager
def joined(recipe: Recipe, arguments: argparse.Namespace, task: str) -> Iterator[SharedNetwork]:
    """Inside, this process is one of those that measure the weights of --checkpoint.

    Args:
        recipe: of the job.
        arguments: --checkpoint and --verbose.
        task: what is measured; the same on all ranks.

    Raises:
        ConfigError: the ranks were started with different settings.
        CheckpointError: they see different weights.
    """
    config = recipe.config
    processes = emulated_processes(config, recipe.kind)
    with reporting(config, processes) as report:
        from pangu_alpha.runtime.device import prepare_environment

        prepare_environment(arguments.verbose)
        from pangu_alpha.training.starting import load_weights

        if processes is None:
            backend = mindspore_backend(config, report, measures=True).backend
            assert backend.mean_loss is not None
            fill, mean_loss, workers, is_main = backend.step.load, backend.mean_loss, backend.workers, backend.is_main
        else:
            from pangu_alpha.emulator.validation import EmulatedValidation

            report("compiling")
            emulated = EmulatedValidation(config, processes)
            fill, mean_loss, workers, is_main = emulated.load, emulated.mean_loss, processes, processes.is_main
        workers.require_equal(f"{config.model_dump_json()} {task}")
        found = load_weights(arguments.checkpoint, fill, workers, config.model, recipe.tokenizer.fingerprint)
        report("validating")
        yield SharedNetwork(found, mean_loss, workers, is_main)
