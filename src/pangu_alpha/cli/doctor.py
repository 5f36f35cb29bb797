"""`pangu doctor`: what would break a job, found before it starts.

Everything that looks is imported by `run`, so that `--help` does not wait for it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.console import progress
from pangu_alpha.errors import PanguError

if TYPE_CHECKING:
    from pangu_alpha.cluster.preflight.finding import Finding
    from pangu_alpha.config import RunConfig

_MARKS = {"ok": "✓", "bad": "✗", "skipped": "–"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.description = (
        "Check, before a launch, what would break it: packages, mesh, rank table, data, disk, limits, ports, devices.\n"
        "✓ good, ✗ bad with the way out, – nothing to check here. Exit code: 0 when nothing is ✗, 1 when something\n"
        "is, 2 when the recipe or the hosts file cannot be read."
    )
    parser.epilog = (
        "examples:\n  pangu doctor tiny_cpu\n  pangu doctor 350m --rank-table table.json\n"
        "  pangu doctor 350m parallel.dp=16 --rank-table table.json --hosts hosts.txt\n"
        "  pangu doctor 200b_2048 --hardware 910a --rank-table table.json\n"
        "  pangu doctor tiny_cpu train.keep_checkpoints=5 --json"
    )
    parser.add_argument("recipe", help="a YAML file or the name of a shipped recipe")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that replace the recipe's")
    parser.add_argument("--rank-table", type=Path, metavar="FILE", help="the rank table of the job")
    parser.add_argument(
        "--hosts",
        type=Path,
        metavar="FILE",
        help="run on these hosts over ssh (one a line), in this directory and with this Python, and compare them",
    )
    parser.add_argument("--ssh", metavar="COMMAND", help="how to reach a host: program and options (default: ssh)")
    parser.add_argument(
        "--server", metavar="ID", help="check as this server of the rank table (default: the one with this address)"
    )
    parser.add_argument(
        "--hardware", metavar="CHIP", help="also what `pangu plan` expects on this chip (name or profile): time, memory"
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead of the table")


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu doctor ...`."""
    from pangu_alpha.cluster.preflight.report import examine
    from pangu_alpha.config import load_config

    config = load_config(arguments.recipe, arguments.overrides)
    expected = _expected(arguments.hardware, config, arguments.rank_table)
    if arguments.hosts is None:
        report = examine(config, arguments.rank_table, arguments.server)
        report = replace(report, findings=[*report.findings, *_tasks(config), *expected])
        findings, text = report.findings, report.to_json()
    else:
        findings = [*_ask(arguments, config), *expected]
        text = json.dumps({"findings": [asdict(finding) for finding in findings]})
    print(text if arguments.json else _table(findings))
    if any(finding.state == "bad" for finding in findings):
        sys.stdout.flush()
        sys.exit(1)


def _tasks(config: RunConfig) -> list[Finding]:
    """Whether the tasks that are measured during the training can be asked, all questions of them."""
    if not config.tasks.names:
        return []
    from pangu_alpha.cli.train_tasks import open_tasks
    from pangu_alpha.cluster.preflight.finding import ok, refused, skipped
    from pangu_alpha.training.runnable import default_backend

    if config.tasks.data is not None and not config.tasks.data.is_dir():
        return [skipped("tasks", f"{config.tasks.data} is not here, and must be on the host of rank 0")]
    try:
        plans = open_tasks(config, default_backend(config, num_processes=1))
    except PanguError as error:
        return [refused("tasks", error, "correct the section tasks")]
    names = dict.fromkeys(plan.task.name for plan in plans)
    return [ok("tasks", f"{', '.join(names)}: {sum(len(plan.items) for plan in plans):,} questions at a time")]


def _expected(chip: str | None, config: RunConfig, rank_table: Path | None) -> list[Finding]:
    """What the planner expects, on a chip that was named and the servers of the rank table."""
    if chip is None:
        return []
    from pangu_alpha.cluster.preflight.expected import check_expected
    from pangu_alpha.planner.hardware import load_hardware

    return [check_expected(config, load_hardware(chip), rank_table)]


def _ask(arguments: argparse.Namespace, config: RunConfig) -> list[Finding]:
    from pangu_alpha.cluster.launching.hosts import SSH
    from pangu_alpha.cluster.preflight.comparison import summarise
    from pangu_alpha.cluster.preflight.hosts import ask_hosts
    from pangu_alpha.cluster.preflight.table import check_hosts
    from pangu_alpha.cluster.rank_tables.inventory import read_hosts
    from pangu_alpha.topology.mesh import Mesh

    hosts = list(read_hosts(arguments.hosts))
    words = [arguments.recipe, *arguments.overrides]
    if arguments.rank_table is not None:
        words += ["--rank-table", str(arguments.rank_table)]
    with progress("asking", len(hosts), "hosts") as advance:
        answers = ask_hosts(hosts, words, arguments.ssh or SSH, advance)
    return [*check_hosts(arguments.rank_table, hosts), *summarise(answers, Mesh.of(config.parallel))]


def _table(findings: Sequence[Finding]) -> str:
    width = max(len(finding.what) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{_MARKS[finding.state]} {finding.what:{width}}  {finding.found}")
        if finding.state == "bad":
            lines.append(f"{'':{width + 2}}  → {finding.fix}")
    counts = {state: sum(finding.state == state for finding in findings) for state in _MARKS}
    return "\n".join([*lines, "", ", ".join(f"{_MARKS[state]} {count}" for state, count in counts.items())])
