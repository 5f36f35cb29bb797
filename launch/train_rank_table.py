"""Starts a job on the devices of a rank table, one process a device, and follows it.

With `device=cpu` the devices are simulated: the same processes run on the servers' processors and find each other
through MindSpore's scheduler, on the server of rank 0.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pangu_alpha.cluster.launching.environment import Card
from pangu_alpha.cluster.launching.launch import TRAIN, Plan, Server, add_launch_arguments, main
from pangu_alpha.cluster.ports import is_here
from pangu_alpha.cluster.rank_tables.check import find_problems, for_hccl, ports_in_use
from pangu_alpha.cluster.rank_tables.inventory import read_hosts
from pangu_alpha.cluster.rank_tables.rank_table import RankTable, read_rank_table
from pangu_alpha.command_line import Parser
from pangu_alpha.config import RunConfig, load_config
from pangu_alpha.errors import ClusterError
from pangu_alpha.topology.mesh import Mesh

_NUM_SHOWN = 10
"""Problems of a table that are shown."""


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="launch/train_rank_table.sh",
        description="Train on the devices of a rank table: on those of this server, or with --hosts on all of them. "
        "The same command again goes on from the newest checkpoint.",
        epilog="examples:\n  bash launch/train_rank_table.sh 350m hccl_8p.json output=runs/350m\n"
        "  bash launch/train_rank_table.sh 350m hccl_16p.json parallel.dp=16 --hosts hosts.txt --restarts 3\n"
        "  bash launch/train_rank_table.sh 350m hccl_16p.json parallel.dp=16 --hosts hosts.txt --dry-run\n"
        "  bash launch/train_rank_table.sh tiny_cpu table.json parallel.dp=8    # devices simulated on this processor",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_launch_arguments(parser)
    parser.add_argument(
        "--server", metavar="ID", help="without --hosts: the server_id to start (default: the one with this address)"
    )
    parser.add_argument("recipe", help="a YAML file or the name of a shipped recipe")
    parser.add_argument("rank_table", type=Path, help="as HCCL reads it; `pangu ranktable make` makes it")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that replace the recipe's")
    return parser


def make_plan(arguments: argparse.Namespace) -> Plan:
    """The job that the command line asks for.

    Raises:
        PanguError: the recipe, the rank table or the hosts file is not what a job needs.
    """
    config = load_config(arguments.recipe, arguments.overrides)
    table = read_rank_table(arguments.rank_table)
    hosts = list(read_hosts(arguments.hosts)) if arguments.hosts else None
    _refuse_problems(arguments.rank_table, table, config, hosts)
    entries = sorted(table.servers, key=lambda entry: min(device.rank_id for device in entry.devices))
    servers = tuple(
        Server(
            entry.address,
            tuple(
                Card(device.rank_id, device.device_id)
                for device in sorted(entry.devices, key=lambda device: device.rank_id)
            ),
        )
        for entry in entries
    )
    here = servers[0] if hosts else servers[_index_here([(e.server_id, e.address) for e in entries], arguments.server)]
    return Plan(
        config=config,
        command=(*TRAIN, arguments.recipe, *arguments.overrides),
        servers=servers,
        rank_table=arguments.rank_table if config.device == "ascend" else None,
        ssh=arguments.ssh if hosts else None,
        here=here,
    )


def _refuse_problems(path: Path, table: RankTable, config: RunConfig, hosts: Sequence[str] | None) -> None:
    problems = find_problems(table, Mesh.of(config.parallel), hosts)
    if config.device == "ascend":
        problems += [*for_hccl(table), *ports_in_use(table)]
    if problems:
        lines = [f"  {problem}" for problem in problems[:_NUM_SHOWN]]
        more = f"\n  and {len(problems) - _NUM_SHOWN} more" if len(problems) > _NUM_SHOWN else ""
        raise ClusterError(f"{path} does not fit this job:\n" + "\n".join(lines) + more)


def _index_here(entries: Sequence[tuple[str, str]], wanted: str | None) -> int:
    """Which of the servers (id, address) this machine is."""
    names = ", ".join(server_id for server_id, _ in entries[:_NUM_SHOWN])
    if wanted is not None:
        found = [i for i, entry in enumerate(entries) if wanted in entry]
        if not found:
            raise ClusterError(f"--server {wanted}: the rank table has no such server; it has {names}")
        return found[0]
    found = [i for i, (_, address) in enumerate(entries) if is_here(address)] if len(entries) > 1 else [0]
    if len(found) != 1:
        what = "several servers of the rank table have" if found else "no server of the rank table has"
        raise ClusterError(
            f"{what} an address of this machine: name this server with --server (one of {names}), or start all of "
            "them with --hosts FILE"
        )
    return found[0]


if __name__ == "__main__":
    sys.exit(main("train_rank_table", _parser(), make_plan))
