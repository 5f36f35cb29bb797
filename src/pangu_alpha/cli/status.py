"""`pangu status`: what the ranks of a run are doing."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.cluster.watching.status import describe, read_status

if TYPE_CHECKING:
    from pangu_alpha.planner.hardware import Hardware

_INTERVAL = 2.0
"""Seconds between two screens."""
_CLEAR = "\x1b[H\x1b[2J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.description = (
        "Show what the ranks of a run are doing: those that say the same in one row, and those that are silent, behind "
        "or dead by name. It reads RUN/heartbeats, on any host that sees the folder."
    )
    parser.epilog = "examples:\n  pangu status runs/2b6\n  pangu status runs/2b6 --watch --hardware 910a"
    parser.add_argument("output", type=Path, metavar="RUN", help="output directory of the run")
    parser.add_argument("--watch", action="store_true", help="show it again every 2 s until the run is over")
    parser.add_argument(
        "--hardware",
        metavar="CHIP",
        help="also its pace beside what `pangu plan` expects on this chip (default: beside what the run's own "
        "records say, if it was started with --hardware)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu status ...`."""
    hardware = None
    if arguments.hardware is not None:
        from pangu_alpha.planner.hardware import load_hardware

        hardware = load_hardware(arguments.hardware)
    while True:
        status = read_status(arguments.output)
        if arguments.watch:
            print(_CLEAR if sys.stdout.isatty() else "", end="")
            print(time.strftime("%H:%M:%S "), end="")
        print(describe(arguments.output, status), flush=True)
        if pace := _pace(arguments.output, hardware):
            print(pace, flush=True)
        if not arguments.watch or status.is_over:
            return
        time.sleep(_INTERVAL)


def _pace(output: Path, hardware: Hardware | None) -> str | None:
    from pangu_alpha.cluster.watching.pace import describe_pace, recorded_pace

    return recorded_pace(output) if hardware is None else describe_pace(output, hardware)
