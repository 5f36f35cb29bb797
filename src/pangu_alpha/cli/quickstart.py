"""`pangu quickstart`: from nothing to a network that has read a novel and writes."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from types import FrameType
from typing import NoReturn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.description = (
        "Fetch a novel, learn a tokenizer, train a network, measure it on chapters that it has not seen, and let it\n"
        "continue three prompts. Run again after an interruption, it goes on from what is there."
    )
    parser.epilog = (
        "examples:\n  pangu quickstart\n  pangu quickstart --text novels/ diary.txt --output runs/mine\n"
        "  pangu quickstart train.steps=100 --output runs/short"
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="section.key=value",
        help="settings that replace those of the recipe `quickstart`",
    )
    parser.add_argument(
        "--text",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help="own .txt, .jsonl or .jsonl.zst files, or directories of them, in place of the novel",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/quickstart"),
        metavar="DIR",
        help="where everything goes (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu quickstart ...`."""
    from pangu_alpha.locks import only_one
    from pangu_alpha.quickstart.stages import STOPPED, StageError
    from pangu_alpha.quickstart.story import Quickstart, summarise

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        """Handles a signal that comes between two commands."""
        raise StageError(STOPPED, 128 + number)

    signal.signal(signal.SIGTERM, stop)
    try:
        quickstart = Quickstart(arguments.output, arguments.text, arguments.overrides)
        lock = arguments.output / ".quickstart.lock"
        with only_one(lock, f"the folder {arguments.output}", "choose another --output"):
            quickstart.run()
    except KeyboardInterrupt as error:
        raise StageError(f"Ctrl-C: {STOPPED}", 130) from error
    print(summarise(arguments.output))
