"""Where each rank's device is, from a rank table or an inventory: what the planner's links go by."""

from __future__ import annotations

from pathlib import Path

from pangu_alpha.cluster.rank_tables.inventory import Devices, read_inventory, read_racks, with_racks
from pangu_alpha.cluster.rank_tables.rank_table import RankTable, numbered, read_rank_table
from pangu_alpha.errors import ClusterError
from pangu_alpha.planner.placement import Places


def read_cluster(path: Path, racks: Path | None = None) -> RankTable:
    """The table in `path`, or that of a YAML inventory, whose devices get their ranks in the order of the file.

    Args:
        path: a rank table (.json) or an inventory (.yaml, .yml).
        racks: a hosts file or an inventory with the racks of the servers.

    Raises:
        ClusterError: a file is missing or cannot be understood, or `path` is neither.
    """
    if path.suffix == ".json":
        table = read_rank_table(path)
    elif path.suffix in (".yaml", ".yml"):
        servers = read_inventory(path, Devices())
        in_pods = any(device.super_device_id is not None for server in servers for device in server.devices)
        table = numbered("1.2" if in_pods else "1.0", servers)
    else:
        raise ClusterError(
            f"{path}: give a rank table (.json) or an inventory (.yaml): another file does not say which devices the "
            "servers have"
        )
    if racks is None:
        return table
    return RankTable(table.version, with_racks(table.servers, read_racks(racks)), table.status, table.extra)


def places_of(table: RankTable, source: Path) -> Places:
    """Where each rank of `table` is.

    Raises:
        ClusterError: a rank is there twice or missing, or some servers are in a rack and others in none.
    """
    ranks = sorted(device.rank_id for server in table.servers for device in server.devices)
    if not ranks or ranks != list(range(len(ranks))):
        raise ClusterError(
            f"{source}: its ranks are not 0 to {len(ranks) - 1}, each once: `pangu ranktable check {source}` names "
            "what is wrong"
        )
    without = [server.server_id for server in table.servers if not server.rack]
    if 0 < len(without) < len(table.servers):
        raise ClusterError(
            f"{source}: server {without[0]} is in no rack, and others are: name the rack of every server, or of none"
        )
    pairs = table.by_rank.values()
    return Places(
        source.name,
        tuple(server.server_id for server, _ in pairs),
        tuple(device.device_id for _, device in pairs),
        () if without else tuple(server.rack for server, _ in pairs),
    )
