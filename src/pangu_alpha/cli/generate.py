"""`pangu generate`: continue prompts with a trained network."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.console import say, si, write_data
from pangu_alpha.errors import DataError

if TYPE_CHECKING:
    from pangu_alpha.inference import Generator, SamplingOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.description = (
        "Continue prompts with a trained network. One prompt is continued as you watch; of several, each is printed "
        "when it is complete. The continuation ends at <eod>, at <eot>, or after --max-new-tokens."
    )
    parser.epilog = (
        "examples:\n  pangu generate --checkpoint runs/tiny_cpu --prompt 话说天下大势\n"
        "  pangu generate --checkpoint runs/tiny_cpu/checkpoints/step_00000200 --prompt 却说曹操 --temperature 0\n"
        "  pangu generate --checkpoint runs/tiny_cpu --prompt 玄德曰 孔明曰 --top-p 0.9 --seed 7\n"
        "  pangu generate --checkpoint runs/tiny_cpu --input prompts.jsonl --json > continued.jsonl"
    )
    parser.add_argument(
        "--checkpoint", type=Path, required=True, metavar="PATH", help="a step_* directory, or a run's output directory"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--prompt", nargs="+", metavar="TEXT", help="texts to continue")
    source.add_argument(
        "--input", nargs="+", type=Path, metavar="PATH", help=".txt, .jsonl or .jsonl.zst files; a document is a prompt"
    )
    parser.add_argument("--tokenizer", type=Path, metavar="PATH", help="default: what the run's settings say")
    parser.add_argument("--device", choices=("cpu", "ascend", "gpu"), help="default: what the run's settings say")
    parser.add_argument("--max-new-tokens", type=int, default=100, metavar="N", help="length of a continuation (100)")
    parser.add_argument("--temperature", type=float, default=1.0, metavar="T", help="0: always the likeliest token (1)")
    parser.add_argument(
        "--top-k", type=int, default=0, metavar="K", help="draw from the K likeliest tokens; 0: all (0)"
    )
    parser.add_argument(
        "--top-p", type=float, default=1.0, metavar="P", help="draw from the likeliest tokens that make up P (1)"
    )
    parser.add_argument(
        "--repetition-penalty",
        type=float,
        default=1.0,
        metavar="R",
        help="above 1: repeat less; 1.1 to 1.3 are usual (1)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed gives another text (0)")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="prompts computed together (8)")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line instead of text")
    parser.add_argument("-v", "--verbose", action="store_true", help="show MindSpore's warnings")


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu generate ...`."""
    prompts = arguments.prompt or _read_prompts(arguments.input)
    # MindSpore takes seconds to import; the rest can fail without it.
    from pangu_alpha.runtime.device import prepare_environment

    prepare_environment(arguments.verbose)
    from pangu_alpha.inference import Generator, SamplingOptions, load_trained

    options = SamplingOptions(
        max_new_tokens=arguments.max_new_tokens,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        repetition_penalty=arguments.repetition_penalty,
        seed=arguments.seed,
    )
    model = load_trained(arguments.checkpoint, arguments.tokenizer, arguments.device)
    generator = Generator(model.network, model.config.model, model.tokenizer, arguments.batch_size)
    say(f"{model.checkpoint.path}, step {model.checkpoint.step}; compiling, the first token takes a while")
    _print_continuations(generator, prompts, options, arguments.json)


def _read_prompts(paths: Sequence[Path]) -> list[str]:
    from pangu_alpha.data import read_texts

    prompts = list(read_texts(paths))
    if not prompts:
        raise DataError(f"{', '.join(map(str, paths))}: no document to continue")
    return prompts


def _print_continuations(generator: Generator, prompts: Sequence[str], options: SamplingOptions, as_json: bool) -> None:
    is_live = len(prompts) == 1 and not as_json
    if is_live:
        _write(prompts[0])
    texts = [""] * len(prompts)
    num_tokens, num_printed = [0] * len(prompts), 0
    reasons: list[str | None] = [None] * len(prompts)
    first_token = time.perf_counter()
    for count, piece in enumerate(generator.stream(prompts, options)):
        if count == 0:
            first_token = time.perf_counter()
        if is_live:
            _write(piece.text)
        texts[piece.prompt] += piece.text
        num_tokens[piece.prompt] += 1
        reasons[piece.prompt] = piece.finish
        # In the order of the prompts, each as soon as it and all before it are complete.
        while not is_live and num_printed < len(prompts) and reasons[num_printed] is not None:
            place = num_printed
            if as_json:
                line = {"prompt": prompts[place], "continuation": texts[place], "finish": reasons[place]}
                _write(json.dumps(line | {"num_tokens": num_tokens[place]}, ensure_ascii=False) + "\n")
            else:
                _write(f"{prompts[place]}{texts[place]}\n\n")
            num_printed += 1
    if is_live:
        _write("\n")
    seconds = time.perf_counter() - first_token
    total = sum(num_tokens)
    say(f"{total:,} tokens, {si((total - 1) / seconds) if total > 1 else '-'} tokens/s after the first")


def _write(text: str) -> None:
    # As bytes: the text is UTF-8 whatever the locale says. At once, because someone is watching.
    write_data(text.encode())
