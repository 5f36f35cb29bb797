"""The rank table of the job."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pangu_alpha.cluster.ports import is_here
from pangu_alpha.cluster.preflight.finding import Finding, bad, ok, refused, skipped
from pangu_alpha.cluster.rank_tables.check import find_problems
from pangu_alpha.cluster.rank_tables.formats import gathered
from pangu_alpha.cluster.rank_tables.rank_table import RankTable, parse_rank_table
from pangu_alpha.config import RunConfig
from pangu_alpha.errors import ClusterError
from pangu_alpha.topology.mesh import Mesh

_WHAT = "rank table"


def check_rank_table(path: Path | None, config: RunConfig) -> tuple[list[Finding], RankTable | None]:
    """Whether the table in `path` is valid and carries the recipe's mesh; and the table, when it can be read."""
    if path is None:
        return [skipped(_WHAT, "none given (--rank-table)")], None
    try:
        table, problems = parse_rank_table(path)
    except ClusterError as error:
        return [refused(_WHAT, error, "make one with `pangu ranktable make`")], None
    if table is not None:
        problems += find_problems(table, Mesh.of(config.parallel))
    findings = [bad(_WHAT, f"{path}, {problem.where}: {problem.what}", problem.fix) for problem in gathered(problems)]
    if table is None or findings:
        return findings, table
    return [ok(_WHAT, f"{table.num_devices} devices on {len(table.servers)} servers")], table


def check_hosts(path: Path | None, hosts: Collection[str]) -> list[Finding]:
    """Whether every server of the table in `path` is among `hosts`; what else is wrong with it, each host says."""
    try:
        table = None if path is None else parse_rank_table(path)[0]
    except ClusterError:
        table = None
    if table is None:
        return []
    known = find_problems(table)
    return [
        bad(_WHAT, f"{problem.where}: {problem.what}", problem.fix)
        for problem in find_problems(table, hosts=hosts)
        if problem not in known
    ]


def devices_of(table: RankTable, server: str | None) -> Collection[int] | None:
    """Device ids of `server`, or of the server whose address is this machine's; None when there is no such one."""
    for entry in table.servers:
        is_meant = server in (entry.server_id, entry.address) if server is not None else is_here(entry.address)
        if is_meant:
            return [device.device_id for device in entry.devices]
    return None
