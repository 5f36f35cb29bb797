"""`pangu evaluate perplexity`: by one process, or by the ranks that share a recipe's network."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.cli.shared_network import add_recipe_argument, joined, open_recipe

if TYPE_CHECKING:
    from pangu_alpha.checkpoint import Checkpoint
    from pangu_alpha.config import RunConfig
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
    add_recipe_argument(parser)
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
    evaluator = LossEvaluator(model.network)
    result = measure_perplexity(texts, evaluator.mean_loss)
    return {**_results(model.checkpoint, model.config, texts, result), "parts": evaluator.parts}


def _by_ranks(arguments: argparse.Namespace, documents: Iterable[str]) -> dict[str, object] | None:
    from pangu_alpha.evaluation.perplexity import measure_perplexity

    recipe = open_recipe(arguments)
    texts = _pack(arguments, documents, recipe.tokenizer, recipe.config, recipe.config.train.batch_size)
    with joined(recipe, arguments, f"{texts.num_tokens} {texts.stride}") as network:
        result = measure_perplexity(texts, network.mean_loss)
        return _results(network.checkpoint, recipe.config, texts, result) if network.is_main else None


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
