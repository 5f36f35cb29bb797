"""Entry point of `pangu`: picks the verb's module and imports only that one.

A verb's module has `add_arguments(parser)` and `run(arguments)`. MindSpore is imported inside `run`, by the verbs that
need it, so that the others start at once.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from pangu_alpha import __version__
from pangu_alpha.command_line import Parser, run_program

_RAW = argparse.RawDescriptionHelpFormatter
VERBS = {
    "quickstart": "from nothing to a network that has read a novel and writes",
    "config": "show and list recipes",
    "show": "draw a recipe's mesh, stages and schedule",
    "plan": "find the fastest layout for a number of devices, and say why",
    "tokenizer": "train, use and inspect tokenizers",
    "data": "split, pack and inspect text and token files",
    "corpus": "make clean training text of web pages and files",
    "compile": "compile any rank's program for Ascend on this machine, and check it",
    "verify": "execute the programs of many layouts here and compare them with one device",
    "train": "train a network",
    "rehearse": "live through a cluster's training on this machine, with some of its ranks",
    "launch": "start a training of several processes, here or on a cluster, and follow it",
    "checkpoint": "list, show, check, compare and rewrite what a run has saved",
    "generate": "continue prompts with a trained network",
    "evaluate": "measure a trained network",
    "doctor": "find what would break a job before it starts",
    "ranktable": "make, check and show the file that says which device is which rank",
    "status": "show what the ranks of a run are doing",
    "diagnose": "say which rank of a run failed first, and why",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0; 2 for a wrong input, 1 for a failed run, 130 after Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)

    def work() -> int:
        arguments = _build_parser(words).parse_args(words)
        arguments.run(arguments)
        return 0

    return run_program("pangu", work)


def _build_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = Parser(
        prog="pangu",
        description="PanGu-α from Chinese text to a trained network.",
        epilog="examples:\n  pangu config show 2b6\n  pangu train tiny_cpu train.steps=200\n  pangu VERB --help",
        formatter_class=_RAW,
    )
    parser.add_argument("--version", action="version", version=f"pangu {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    chosen = next((word for word in words if not word.startswith("-")), None)
    for verb, summary in VERBS.items():
        child = verbs.add_parser(verb, help=summary, description=summary, formatter_class=_RAW)
        if verb == chosen:
            module = importlib.import_module(f"pangu_alpha.cli.{verb}")
            module.add_arguments(child)
            child.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
