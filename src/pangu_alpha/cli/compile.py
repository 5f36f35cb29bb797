"""`pangu compile`: any rank's training program, compiled here by MindSpore's Ascend front end, and what is in it."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.console import si
from pangu_alpha.errors import CompileError, ConfigError

if TYPE_CHECKING:
    from pangu_alpha.compiler.programs import CompiledRank
    from pangu_alpha.config import RunConfig
    from pangu_alpha.program.report import RankReport, TrafficRow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.description = (
        "Compile the training programs of any ranks of a cluster on this machine, without a device; report their size, "
        "their device memory as MindSpore plans it, and their collectives beside those that the sharding table "
        "implies. A program with another collective, or one that does not fit, is an error (exit code 1)."
    )
    parser.epilog = (
        "examples:\n  pangu compile 200b_2048\n  pangu compile 200b_2048 --rank 2047\n"
        "  pangu compile 13b parallel.dp=16 train.batch_size=128 --save programs --jobs 1"
    )
    parser.add_argument("recipe", help="a YAML file or the name of a shipped recipe")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that replace the recipe's")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--rank", type=int, metavar="R", help="compile this rank; default: one rank a stage")
    which.add_argument("--ranks", choices=("all",), help="compile every rank")
    parser.add_argument("--save", type=Path, metavar="DIR", help="keep the programs and layouts in this directory")
    parser.add_argument("--device-memory", type=float, default=32.0, metavar="GiB", help="of a device; default: 32")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="compilers at a time; default: what cores and memory allow"
    )


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu compile ...`."""
    from pangu_alpha.compiler.programs import compile_ranks, stage_ranks
    from pangu_alpha.config import load_config
    from pangu_alpha.program.report import check_held, report_ranks
    from pangu_alpha.topology.mesh import Mesh

    config = load_config(arguments.recipe, arguments.overrides)
    mesh = Mesh.of(config.parallel)
    if mesh.num_ranks == 1:
        raise ConfigError("this recipe has one rank, and so no collectives: set parallel.dp, mp or pp above 1")
    if arguments.jobs is not None and arguments.jobs < 1:
        raise ConfigError(f"--jobs {arguments.jobs} compiles nothing: give 1 or more")
    if arguments.device_memory <= 0:
        raise ConfigError(f"--device-memory {arguments.device_memory} holds nothing: give the device's memory in GiB")
    if arguments.rank is not None:
        mesh.place(arguments.rank)  # refuses a rank that is not there
        ranks = [arguments.rank]
    else:
        ranks = list(range(mesh.num_ranks)) if arguments.ranks else stage_ranks(mesh)
    compiled = compile_ranks(config, ranks, level=1, num_jobs=arguments.jobs)
    if arguments.save:
        save(compiled, arguments.save)
    reports = report_ranks(config, compiled, int(arguments.device_memory * 2**30))
    print("\n".join(describe(config, reports, arguments.device_memory)))
    problems = [f"rank {report.rank}: {problem}" for report in reports for problem in report.problems]
    if problems:
        raise CompileError("\n".join(problems))
    check_held(config, reports)


def save(compiled: Sequence[CompiledRank], folder: Path) -> None:
    """Copy the programs, layouts and measurements of each rank to `folder`/rank_<r>/.

    Raises:
        CompileError: the folder cannot be written.
    """
    for one in compiled:
        try:
            shutil.copytree(one.folder, folder / f"rank_{one.rank}", dirs_exist_ok=True)
        except OSError as error:
            raise CompileError(f"{folder} cannot be written: {error}") from error


def describe(config: RunConfig, reports: Sequence[RankReport], device_memory: float) -> list[str]:
    """The lines of the report: a table of ranks, then the collectives, ranks with the same ones together."""
    from pangu_alpha.topology.mesh import Mesh

    mesh = Mesh.of(config.parallel)
    lines = [
        f"{mesh} = {mesh.num_ranks:,} ranks, {config.train.num_micro_batches} micro-batches",
        "",
        f"{'rank':>6} {'stage':>5} {'seconds':>8} {'compiler':>9} {'nodes':>7} {'parameters':>10} {'state':>9} "
        f"{f'peak of {device_memory:g} GiB':>15}",
    ]
    for report in reports:
        measured = report.measured
        lines.append(
            f"{report.rank:>6} {report.stage:>5} {measured.seconds:>8.1f} {_size(measured.host_memory):>9} "
            f"{report.num_nodes:>7,} {si(report.num_parameters):>10} {_size(report.state_bytes):>9} "
            f"{_size(measured.device_memory or 0):>15} {'✗' if report.problems else '✓'}"
        )
    same: dict[tuple[TrafficRow, ...], list[int]] = {}
    for report in reports:
        same.setdefault(report.traffic, []).append(report.rank)
    for rows, ranks in same.items():
        names = ", ".join(map(str, ranks[:8])) + (f", … {ranks[-1]}" if len(ranks) > 8 else "")
        lines += ["", f"collectives of a step, rank{'s' if len(ranks) > 1 else ''} {names}"]
        lines.append(f"  {'part':<11} {'kind':<14} {'axis':<13} {'count':>6} {'implied':>8} {'bytes':>8}")
        lines += [
            f"  {row.phase:<11} {row.kind:<14} {row.axis:<13} {row.num_found:>6} {row.num_implied:>8} "
            f"{si(row.num_bytes):>8} {'✓' if row.num_found == row.num_implied else '✗'}"
            for row in rows
        ]
    if not any(report.problems for report in reports):
        lines += [
            "",
            "every collective is implied by the sharding table; "
            "the slices of each parameter and moment cover it, each as often as the others",
        ]
    return lines


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.2f} GiB" if num_bytes >= 2**28 else f"{num_bytes / 2**20:.1f} MiB"
