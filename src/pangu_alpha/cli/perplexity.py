"""`pangu evaluate perplexity`: by one process, or by the ranks that share a recipe's network."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.errors import ConfigError

if TYPE_CHECKING:
    from pangu_alpha.checkpoint import Checkpoint
    from pangu_alpha.cli.backends import Reporter
    from pangu_alpha.config import RunConfig
    from pangu_alpha.emulator.processes import Processes
    from pangu_alpha.evaluation.perplexity import PackedTexts, Perplexity
    from pangu_alpha.tokenizer import Tokenizer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what it has beside --input and --json."""
    parser.add_argument(
        "--checkpoint", type=Path, required=True, metavar="PATH", help="a step_* directory, or a run's output directory"
    )
    parser.add_argument("--tokenizer", type=Path, metavar="PATH", help="default: what the run's settings say")
    parser.add_argument("--device", choices=("cpu", "ascend", "gpu"), help="default: what the run's settings say")
    parser.add_argument(
        "--stride", type=int, metavar="N", help="tokens scored by a window (default: half of the network's context)"
    )
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="windows computed together (8; with --recipe its train.batch_size)"
    )
    parser.add_argument(
        "--recipe",
        nargs="+",
        metavar="RECIPE",
        help="compute as this recipe's ranks, with its overrides: what they share, on which devices",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show MindSpore's warnings")


def measure(arguments: argparse.Namespace) -> dict[str, object] | None:
    """What is measured, with names; None in a rank that is not the one to tell."""
    from pangu_alpha.data import read_texts
    from pangu_alpha.runtime.device import prepare_environment

    documents = read_texts(arguments.input)
    if arguments.recipe is not None:
        return _by_ranks(arguments, documents)
    # MindSpore takes seconds to import; the rest can fail without it.
    prepare_environment(arguments.verbose)
    from pangu_alpha.evaluation.perplexity import measure_perplexity
    from pangu_alpha.inference import load_trained
    from pangu_alpha.training.validation import LossEvaluator

    model = load_trained(arguments.checkpoint, arguments.tokenizer, arguments.device, fuse_operators=True)
    batch_size = 8 if arguments.batch_size is None else arguments.batch_size
    texts = _pack(arguments, documents, model.tokenizer, model.config, batch_size)
    evaluator = LossEvaluator(model.network, texts, dp=1, rank=0)
    result = measure_perplexity(texts, evaluator.mean_loss)
    return {**_results(model.checkpoint, model.config, texts, result), "parts": evaluator.parts}


def _by_ranks(arguments: argparse.Namespace, documents: Iterable[str]) -> dict[str, object] | None:
    from pangu_alpha.cli.backends import emulated_processes, reporting
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
    texts = _pack(arguments, documents, tokenizer, config, config.train.batch_size)
    check_weights(arguments.checkpoint, config.model, tokenizer.fingerprint)
    processes = emulated_processes(config, kind)
    with reporting(config, processes) as report:
        return _share(arguments, config, tokenizer, texts, report, processes)


def _share(
    arguments: argparse.Namespace,
    config: RunConfig,
    tokenizer: Tokenizer,
    texts: PackedTexts,
    report: Reporter,
    processes: Processes | None,
) -> dict[str, object] | None:
    """This process's part of the work."""
    from pangu_alpha.runtime.device import prepare_environment

    prepare_environment(arguments.verbose)
    from pangu_alpha.evaluation.perplexity import measure_perplexity
    from pangu_alpha.training.starting import Fill, load_weights
    from pangu_alpha.training.workers import Workers

    fill: Fill
    workers: Workers
    mean_loss: Callable[[], float]
    if processes is not None:
        from pangu_alpha.emulator.validation import EmulatedValidation

        report("compiling")
        emulated = EmulatedValidation(config, texts, processes)
        fill, workers, mean_loss, is_main = emulated.load, processes, emulated.mean_loss, processes.is_main
    else:
        from pangu_alpha.cli.backends import mindspore_backend

        backend = mindspore_backend(config, texts, report)
        assert backend.mean_loss is not None
        fill, workers, mean_loss, is_main = backend.step.load, backend.workers, backend.mean_loss, backend.is_main
    workers.require_equal(f"{config.model_dump_json()} {texts.num_tokens} {texts.stride}")
    checkpoint = load_weights(arguments.checkpoint, fill, workers, config.model, tokenizer.fingerprint)
    report("validating")
    result = measure_perplexity(texts, mean_loss)
    return _results(checkpoint, config, texts, result) if is_main else None


def _pack(
    arguments: argparse.Namespace, documents: Iterable[str], tokenizer: Tokenizer, config: RunConfig, batch_size: int
) -> PackedTexts:
    from pangu_alpha.evaluation.perplexity import PackedTexts

    length = config.model.seq_length
    return PackedTexts(documents, tokenizer, seq_length=length, stride=arguments.stride, batch_size=batch_size)


def _results(checkpoint: Checkpoint, config: RunConfig, texts: PackedTexts, result: Perplexity) -> dict[str, object]:
    return {
        "checkpoint": str(checkpoint.path),
        "step": checkpoint.step,
        "loss": result.loss,
        "perplexity": result.perplexity,
        "bits_per_character": result.bits_per_character,
        "tokens": result.num_tokens,
        "characters": result.num_characters,
        "documents": result.num_documents,
        "window": config.model.seq_length,
        "stride": texts.stride,
    }
