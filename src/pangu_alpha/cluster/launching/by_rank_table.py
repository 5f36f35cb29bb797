"""Jobs on the devices of a rank table, one process a device: `pangu launch rank-table`.

The table says which card of which server is which rank. The processes find each other through MindSpore's scheduler, on
the server of rank 0. With `device=cpu` the devices are simulated: the same processes run on the servers' processors.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pangu_alpha.cluster.launching.environment import Card
from pangu_alpha.cluster.launching.hosts import SSH
from pangu_alpha.cluster.launching.plan import JobServer, Plan, what_ranks_do
from pangu_alpha.cluster.ports import is_here
from pangu_alpha.cluster.rank_tables.check import find_problems, ports_in_use
from pangu_alpha.cluster.rank_tables.inventory import read_hosts
from pangu_alpha.cluster.rank_tables.rank_table import RankTable, read_rank_table
from pangu_alpha.config import RunConfig, load_config
from pangu_alpha.errors import ClusterError
from pangu_alpha.topology.mesh import Mesh

_NUM_SHOWN = 10
"""Problems of a table that are shown."""


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
        JobServer(
            entry.address,
            tuple(
                Card(device.rank_id, device.device_id)
                for device in sorted(entry.devices, key=lambda device: device.rank_id)
            ),
        )
        for entry in entries
    )
    here = servers[0] if hosts else servers[_index_here([(e.server_id, e.address) for e in entries], arguments.server)]
    config, command = what_ranks_do(arguments, config, arguments.overrides)
    return Plan(
        config=config,
        command=command,
        servers=servers,
        ssh=(arguments.ssh or SSH) if hosts else None,
        here=here,
    )


def _refuse_problems(path: Path, table: RankTable, config: RunConfig, hosts: Sequence[str] | None) -> None:
    problems = find_problems(table, Mesh.of(config.parallel), hosts)
    if config.device == "ascend":
        problems += ports_in_use(table)
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
