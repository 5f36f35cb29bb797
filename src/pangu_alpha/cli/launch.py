"""`pangu launch ...`: a job of several processes, on this machine or on all servers of a cluster."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.console import say

if TYPE_CHECKING:
    from pangu_alpha.cluster.launching.plan import Plan

_RAW = argparse.RawDescriptionHelpFormatter
_AGAIN = "The same command again goes on from the newest checkpoint."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.description = "Start a job of several processes and follow it. " + _AGAIN
    parser.epilog = (
        "examples:\n  pangu launch msrun --workers 2 tiny_cpu\n  pangu launch rank-table 350m hccl_8p.json\n"
        "exit code: 0, 1 when a rank died, 2 for a wrong input, 128 + signal when stopped"
    )
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    rank_table = kinds.add_parser(
        "rank-table",
        help="on the devices of a rank table",
        description="Train on the devices of a rank table: on those of this server, or with --hosts on all of them.\n"
        + _AGAIN,
        epilog="examples:\n  pangu launch rank-table 350m hccl_8p.json output=runs/350m\n"
        "  pangu launch rank-table 350m hccl_16p.json parallel.dp=16 --hosts hosts.txt --restarts 3\n"
        "  pangu launch rank-table 350m hccl_16p.json parallel.dp=16 --hosts hosts.txt --dry-run\n"
        "  pangu launch rank-table 350m hccl_16p.json parallel.dp=16 --hardware 910a --dry-run\n"
        "  pangu launch rank-table tiny_cpu table.json parallel.dp=8    # devices simulated on this processor",
        formatter_class=_RAW,
    )
    _add_common_arguments(rank_table)
    rank_table.add_argument(
        "--server", metavar="ID", help="without --hosts: the server_id to start (default: the one with this address)"
    )
    rank_table.add_argument("recipe", help="a YAML file or the name of a shipped recipe")
    rank_table.add_argument("rank_table", type=Path, help="as HCCL reads it; `pangu ranktable make` makes it")
    msrun = kinds.add_parser(
        "msrun",
        help="processes that find each other through MindSpore's scheduler, as msrun's do",
        description="Train with several processes, on this machine or on several; parallel.dp is set to what they\n"
        "leave beside mp and pp. " + _AGAIN,
        epilog="examples:\n  pangu launch msrun --workers 2 tiny_cpu\n"
        "  pangu launch msrun --workers 8 350m train.batch_size=64 output=runs/350m\n"
        "  pangu launch msrun --workers 16 --hosts hosts.txt --restarts 3 350m\n"
        "  pangu launch msrun --workers 8 350m output=runs/350m --evaluate heldout.jsonl\n"
        "  pangu launch msrun --workers 8 350m output=runs/350m --tasks c3,chid --data data_sets --shots 0,few",
        formatter_class=_RAW,
    )
    msrun.add_argument("--workers", type=int, required=True, metavar="N", help="processes of the whole job")
    _add_common_arguments(msrun)
    msrun.add_argument("recipe", help="a YAML file or the name of a shipped recipe")
    for kind in (rank_table, msrun):
        kind.add_argument(
            "overrides", nargs="*", metavar="section.key=value", help="settings that replace the recipe's"
        )


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu launch ...`."""
    from pangu_alpha.cluster.launching import by_rank_table, by_scheduler
    from pangu_alpha.cluster.launching.launch import launch
    from pangu_alpha.cluster.launching.plan import describe
    from pangu_alpha.training.runnable import require_runnable

    planner = {"rank-table": by_rank_table, "msrun": by_scheduler}[arguments.kind]
    plan = planner.make_plan(arguments)
    require_runnable(plan.config, "mindspore", plan.num_ranks)
    if arguments.hardware is not None:
        plan = _planned(plan, arguments)
    if arguments.dry_run:
        print(describe(plan))
        return
    sys.exit(launch(plan, arguments.restarts))


def _planned(plan: Plan, arguments: argparse.Namespace) -> Plan:
    """Say what the planner expects; ranks of a rank table, which they have not at hand, are told the step's time."""
    from pangu_alpha.cluster.preflight.expected import check_expected, find_expected
    from pangu_alpha.planner.hardware import load_hardware

    hardware = load_hardware(arguments.hardware)
    rank_table = arguments.rank_table if arguments.kind == "rank-table" else None
    finding = check_expected(plan.config, hardware, rank_table)
    say(f"planned: {finding.found}" + (f": {finding.fix}" if finding.fix else ""))
    if rank_table is None:
        return plan
    seconds = find_expected(plan.config, hardware, rank_table).account.seconds
    return replace(plan, command=(*plan.command, "--planned-seconds", f"{seconds:.6g}"))


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--hosts", type=Path, metavar="FILE", help="start and follow all servers over ssh: one host a line"
    )
    parser.add_argument("--ssh", metavar="COMMAND", help="how servers are reached: program and options (default: ssh)")
    parser.add_argument(
        "--restarts",
        type=_count,
        default=0,
        metavar="N",
        help="after a failure, start again from the last good checkpoint, at most N times",
    )
    parser.add_argument(
        "--evaluate",
        type=Path,
        action="append",
        metavar="TEXT",
        help="do not train: measure the perplexity of the run's newest checkpoint on this text, with the same ranks; "
        "may be given again for more. The result is evaluation/perplexity.json in the run's folder",
    )
    parser.add_argument(
        "--tasks",
        metavar="NAMES",
        help="do not train: ask the run's newest checkpoint these tasks of `pangu evaluate tasks` (or groups of them), "
        "with the same ranks. The result is evaluation/step_N in the run's folder",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="of --tasks: holds their data sets, on rank 0's server"
    )
    parser.add_argument("--shots", default="0", metavar="LIST", help="of --tasks: of 0, 1 and few (0)")
    parser.add_argument(
        "--hardware",
        metavar="CHIP",
        help="say what `pangu plan` expects of a step on this chip (name or profile), and let the run write it down: "
        "`pangu status` then says how much slower it is",
    )
    parser.add_argument("--dry-run", action="store_true", help="print every command and environment; start nothing")


def _count(text: str) -> int:
    from pangu_alpha.reading import whole_number

    number = whole_number(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return number
