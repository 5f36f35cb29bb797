"""`pangu evaluate`: measure a trained network, and the simple models it should beat."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from pangu_alpha.cli import evaluate_harness, evaluate_tasks, perplexity
from pangu_alpha.console import progress
from pangu_alpha.errors import DataError
from pangu_alpha.files import write_text
from pangu_alpha.records import to_json

_PATHS = ".txt, .jsonl or .jsonl.zst files, or directories of them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `perplexity`, `ngrams` and what `evaluate_tasks` has."""
    parser.epilog = (
        "examples:\n  pangu evaluate perplexity --checkpoint runs/tiny_cpu --input validation.jsonl\n"
        "  pangu evaluate ngrams --train train.jsonl --input validation.jsonl\n"
        f"{evaluate_tasks.EXAMPLES}\n{evaluate_harness.EXAMPLE}"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    perplexity.add_arguments(
        _declare(
            actions,
            "perplexity",
            "loss, perplexity and bits per character of a network",
            "Score every token of the input once, with a sliding window: loss, perplexity and bits per character.\n"
            "With --recipe the ranks of a job share the work as they share the training (start them with\n"
            "`pangu launch ... --evaluate`), and a CPU executes the programs that they would.",
            "pangu evaluate perplexity --checkpoint runs/tiny_cpu --input validation.jsonl --stride 64\n"
            "  pangu evaluate perplexity --checkpoint runs/tiny_cpu --input a.txt --recipe tiny_cpu parallel.mp=2",
        )
    )
    ngrams = _declare(
        actions,
        "ngrams",
        "bits per character of models that only count characters",
        "Count the characters of the training text and print the bits per character of a unigram and a trigram model.",
        "pangu evaluate ngrams --train train.jsonl --input validation.jsonl",
    )
    ngrams.add_argument("--train", nargs="+", type=Path, required=True, metavar="PATH", help=f"text to count: {_PATHS}")
    evaluate_tasks.declare(actions)
    evaluate_harness.declare(actions)


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu evaluate ...`."""
    if arguments.action in evaluate_tasks.NAMES:
        evaluate_tasks.run(arguments)
        return
    if arguments.action == evaluate_harness.NAME:
        evaluate_harness.run(arguments.words)
        return
    if arguments.action == "perplexity":
        results = perplexity.measure(arguments)
        if results is None:
            return
    else:
        results = _ngrams(arguments)
    if arguments.json is not None:
        _write_json(arguments.json, results)
    results.pop("parts", None)  # for programs that compare two results
    for name, value in results.items():
        text = f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if isinstance(value, float) else value
        print(f"{name.replace('_', ' '):28} {text}")


def _ngrams(arguments: argparse.Namespace) -> dict[str, object]:
    from pangu_alpha.data import count_bytes, read_texts
    from pangu_alpha.evaluation.ngrams import NgramModels

    with progress("counting", count_bytes([*arguments.train, *arguments.input]), "bytes") as advance:
        models = NgramModels(read_texts(arguments.train, advance))
        result = models.measure(read_texts(arguments.input, advance))
    return {
        "unigram_bits_per_character": result.unigram,
        "trigram_bits_per_character": result.trigram,
        "characters": result.num_characters,
        "unknown_characters": result.num_unknown,
    }


def _declare(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    description: str,
    example: str,
) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--input", nargs="+", type=Path, required=True, metavar="PATH", help=f"held-out text: {_PATHS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers to this file")
    return parser


def _write_json(path: Path, results: Mapping[str, object]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, to_json(dict(results), indent=2) + "\n")
    except OSError as error:
        raise DataError(f"{path} was not written: {error}") from error
