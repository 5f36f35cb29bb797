"""`pangu verify`: executes the programs of many layouts here and compares them with the network on one device."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.console import duration, say
from pangu_alpha.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pangu_alpha.verification.parity import Difference, Verdict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.description = (
        "Compile a small network for every rank of 195 layouts of up to 8 ranks, execute the programs together,\n"
        "and compare five steps with the same network on one device: in float64 to the last digits, in float16 and\n"
        "float32 with MindSpore's own CPU kernels. Exit code 1 when a layout differs. A second start goes on where\n"
        "the first one stopped; what was found by other code, or with another MindSpore, is found again."
    )
    parser.epilog = (
        "examples:\n  pangu verify --quick\n  pangu verify --only 'dp2 mp2 pp2'\n"
        "  pangu verify --only sequence --list\n"
        "  pangu verify --only micro1\n"
        "  pangu verify            all 195 layouts: hours on two cores"
    )
    parser.add_argument("--quick", action="store_true", help="six layouts in which every feature occurs")
    parser.add_argument("--only", metavar="WORDS", help="only layouts whose names hold each of these words")
    parser.add_argument("--list", action="store_true", help="print the names of the layouts and execute none")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="compilers at a time; default: what cores and memory allow"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/verify"),
        metavar="DIR",
        help="of verdicts and picture; default: runs/verify",
    )


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu verify ...`."""
    from pangu_alpha.verification.cases import all_cases, quick_cases

    if arguments.jobs is not None and arguments.jobs < 1:
        raise ConfigError(f"--jobs {arguments.jobs} compiles nothing: give 1 or more")
    words = (arguments.only or "").split()
    cases = [
        case for case in (quick_cases() if arguments.quick else all_cases()) if set(words) <= set(str(case).split())
    ]
    if not cases:
        raise ConfigError(f"no layout's name holds all of {words}: see `pangu verify --list`")
    if arguments.list:
        print("\n".join(map(str, cases)))
        return
    from pangu_alpha.runtime.device import prepare_environment

    prepare_environment(verbose=False)
    from pangu_alpha.topology.pictures import save_figure
    from pangu_alpha.verification.picture import draw
    from pangu_alpha.verification.verdicts import verify_all

    verdicts = []
    begin = time.monotonic()
    for verdict in verify_all(cases, arguments.output, arguments.jobs):
        verdicts.append(verdict)
        state = "good" if verdict.is_good else "WRONG"
        say(f"{len(verdicts)} of {len(cases)}: {verdict.case}: {state} ({duration(time.monotonic() - begin)})")
        for line in verdict.complaints():
            say(f"  {line}")
    _print_table(verdicts)
    picture = arguments.output / "verify.png"
    save_figure(draw(verdicts), picture)
    say(f"picture: {picture}")
    if not all(verdict.is_good for verdict in verdicts):
        sys.exit(1)


def _print_table(verdicts: Sequence[Verdict]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    table.add_column("layout", no_wrap=True)
    names = list(dict.fromkeys(item.what for verdict in verdicts for item in verdict.differences))
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("worst gradient at")
    for verdict in verdicts:
        found = {item.what: item for item in verdict.differences}
        cells = [_cell(found[name]) if name in found else "–" for name in names]
        worst = next((item.where for item in verdict.differences if item.what == "float64 gradient"), "not executed")
        color = "green" if verdict.is_good else "red"
        table.add_row(f"[{color}]{verdict.case}[/]", *cells, worst)
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    num_good = sum(verdict.is_good for verdict in verdicts)
    print(f"{num_good} of {len(verdicts)} layouts agree with one device")


def _cell(item: Difference) -> str:
    text = f"{item.value:.0f}" if item.value == 0 or item.limit == 0 else f"{item.value:.1e}"
    return text if item.is_good else f"[red]{text}[/]"
