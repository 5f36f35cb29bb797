"""`pangu rehearse`: live through a cluster's training on this machine, with some of its ranks."""

from __future__ import annotations

import argparse
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.errors import ConfigError, PanguError
from pangu_alpha.reading import whole_number

if TYPE_CHECKING:
    from pangu_alpha.rehearsal.life import Life, Lived
    from pangu_alpha.rehearsal.recipe import Played


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.description = (
        "Run the real `pangu train` of some ranks of a cluster, as processes on this machine: their rank table is\n"
        "read, their programs are compiled, their slices filled, steps called, validation done, a checkpoint of all\n"
        "ranks committed. MindSpore plays the devices, with a memory behind them: no kernel runs. With --then,\n"
        "another recipe goes on from that checkpoint."
    )
    parser.epilog = (
        "examples:\n  pangu rehearse 200b_2048 --ranks 0,2047 --then 200b_1024\n"
        "  pangu rehearse my.yaml --rank-table hccl.json\n"
        "  pangu rehearse tiny_cpu device=ascend parallel.dp=2 parallel.mp=2 train.batch_size=8 --all\n"
        "exit code: 0 when all is as it should be, 1 when not, 2 for a wrong input"
    )
    parser.add_argument("recipe", help="a YAML file or the name of a shipped recipe")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that replace the recipe's")
    parser.add_argument(
        "--then", nargs="+", metavar="RECIPE", help="go on with this recipe, and its overrides, from the checkpoint"
    )
    played = parser.add_mutually_exclusive_group()
    played.add_argument("--ranks", metavar="N,N", help="that get a process, beside rank 0 (default: one a stage)")
    played.add_argument("--all", action="store_true", help="all ranks get a process: for small meshes")
    parser.add_argument("--steps", type=int, default=2, metavar="N", help="of each recipe (default: 2)")
    parser.add_argument("--rank-table", type=Path, metavar="FILE", help="of the recipe (default: one is made)")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/rehearsal"), metavar="DIR", help="a new folder (runs/rehearsal)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu rehearse ...`."""
    from pangu_alpha.rehearsal.rehearse import prepare, rehearse
    from pangu_alpha.rehearsal.report import lines_of, summary

    if arguments.steps < 1:
        raise ConfigError(f"--steps {arguments.steps}: at least 1 is needed")
    folder = arguments.output.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{arguments.output} is not empty: remove it, or choose another --output")
    words, table = [arguments.recipe, *arguments.overrides], arguments.rank_table
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        lives = [prepare(words, folder, arguments.steps, _played(arguments), table)]
        if arguments.then:
            lives.append(prepare(arguments.then, folder, arguments.steps, _played(arguments), before=lives[0]))
    except PanguError:
        for path in new[-1:]:
            shutil.rmtree(path, ignore_errors=True)
        raise
    requests: list[int] = []
    for wanted in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wanted, lambda number, _frame: requests.append(number))
    accounts: list[Lived] = []

    def tell(life: Life, lived: Lived) -> None:
        accounts.append(lived)
        print("\n".join(lines_of(life, lived, len(accounts))), flush=True)

    rehearse(lives, requests, tell)
    print("\n".join(summary(lives, accounts)))


def _played(arguments: argparse.Namespace) -> Played:
    """The ranks that get a process, as the user has said it."""
    if arguments.all:
        return "all"
    if arguments.ranks is None:
        return None
    found = [whole_number(word) for word in arguments.ranks.split(",")]
    numbers = [number for number in found if number is not None]
    if len(numbers) < len(found):
        raise ConfigError(f"--ranks {arguments.ranks} is not of the form 0,2047")
    return numbers
