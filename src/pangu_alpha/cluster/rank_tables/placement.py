"""Which server gets which ranks, so that what talks most is near: the placement of the paper's Fig. 5.

Bandwidth falls from a server to a rack to the room. So an operator-level group lies inside a server (inside its ring of
four where it fits, because devices are taken in the order of their numbers), the pipeline stages of one replica lie on
the servers of one rack, and the data and optimizer groups, whose traffic hides behind the backward pass, cross racks.

A server always holds consecutive ranks, as HCCL demands. The ranks of the job are cut into blocks of one server each,
and blocks that hold the stages of the same replicas make a column. Columns are placed one by one, whole in a rack while
there is one with enough servers, and otherwise in as few pieces as possible. At last pairs of servers change places
while that keeps more links of operator-level groups, then of pipelines, inside racks: it mends what does not divide.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

import numpy as np

from pangu_alpha.cluster.rank_tables.rank_table import RING, RankTable, Server, Version, numbered
from pangu_alpha.errors import ClusterError
from pangu_alpha.topology.mesh import AXES, Axis, Mesh


@dataclass(frozen=True)
class Links:
    """What the groups of one axis send across. A link joins neighbours of a group; dp and mp groups are rings."""

    axis: Axis
    num_groups: int
    num_links: int
    across_rings: int
    """Links between the rings of four of one server."""
    across_servers: int
    """Links between servers of one rack."""
    across_racks: int
    worst_group: int
    """Links between racks in the group that has most of them."""


@dataclass(frozen=True)
class Arrangement:
    """A rank table, the servers it does not need, and what its reader should know about the order of the servers."""

    table: RankTable
    spare: tuple[Server, ...]
    note: str | None


def arrange(servers: Sequence[Server], version: Version, mesh: Mesh | None, keep_server_ids: bool) -> Arrangement:
    """The rank table of `servers`: placed for `mesh`, or in the dictionary order of their ids without one.

    In format 1.2 the servers of a super-pod stay together, whatever the mesh. In formats 1.0 and 1.2 ranks must follow
    the dictionary order of the server ids. Where another order is needed, the servers are renamed node_000, node_001,
    ... and their addresses go to `host_ip`; under `keep_server_ids`, or when `host_ip` cannot be filled because an id
    is not an address, the placement gives way.

    Raises:
        ClusterError: the servers cannot carry the mesh.
    """
    servers = [replace(s, devices=tuple(sorted(s.devices, key=lambda device: device.device_id))) for s in servers]
    placed, spare = (sorted(servers, key=lambda server: server.server_id), []) if mesh is None else place(servers, mesh)
    if version == "1.2":
        pods = list(dict.fromkeys(server.rack for server in placed))
        placed = sorted(placed, key=lambda server: pods.index(server.rack))
    in_order = sorted(placed, key=lambda server: server.server_id)
    note = None
    if version != "2.0" and placed != in_order:
        wanted = "the best places for this mesh" if mesh else "the super-pods, which CANN wants together,"
        conflict = f"{wanted} are not in the dictionary order of the server ids, which MindSpore wants: "
        if keep_server_ids or not all(_is_address(server.address) for server in placed):
            placed = in_order
            note = conflict + "the servers are in the order of their ids, and groups cross more servers or racks"
        else:
            width = len(str(len(placed) - 1))
            placed = [
                replace(server, server_id=f"node_{i:0{width}}", extra={**server.extra, "host_ip": server.address})
                for i, server in enumerate(placed)
            ]
            note = conflict + (
                f"the servers are called {placed[0].server_id} to {placed[-1].server_id} in the table, with their "
                "addresses as host_ip (--keep-server-ids orders by id instead)"
            )
    return Arrangement(numbered(version, placed), tuple(spare), note)


def place(servers: Sequence[Server], mesh: Mesh) -> tuple[list[Server], list[Server]]:
    """Servers in rank order, each with the devices it gives, and the servers that are not needed.

    Raises:
        ClusterError: the servers cannot carry the mesh.
    """
    sizes = sorted({len(server.devices) for server in servers})
    if len(sizes) > 1:
        raise ClusterError(
            f"the servers have {' and '.join(map(str, sizes))} devices, and HCCL wants the same number on each: choose "
            "devices that all of them have, for example with --devices 0-3"
        )
    used = min(sizes[0], mesh.num_ranks)
    num_blocks, rest = divmod(mesh.num_ranks, used)
    if rest or num_blocks > len(servers):
        raise ClusterError(
            f"{mesh} = {mesh.num_ranks} ranks do not fit on {len(servers)} server(s) of {used} devices"
            f"{': the last server would not be full' if rest else ''}; change parallel.dp, mp or pp, choose other "
            "devices with --devices, or add servers"
        )
    racks: dict[str, list[Server]] = {}
    for server in servers:
        racks.setdefault(server.rack, []).append(server)
    blocks: dict[int, Server] = {}
    for column in columns(mesh, used):
        _place_column(column, racks, blocks)
    chosen = _exchange([blocks[block] for block in range(num_blocks)], mesh, used)
    cut = [replace(server, devices=server.devices[:used]) for server in chosen]
    return cut, [server for rack in racks.values() for server in rack]


def columns(mesh: Mesh, per_server: int) -> list[list[list[int]]]:
    """The blocks of `per_server` ranks that should share a rack: columns of stages of blocks.

    The blocks of a stage of a column hold whole operator-level groups, several where a group is wider than a server.
    """
    num_blocks = mesh.num_ranks // per_server
    width = math.lcm(mesh.mp, per_server) // per_server
    if mesh.num_stage_ranks % (width * per_server):
        # Blocks hold several stages, or parts of groups: neighbours in rank order talk most.
        return [[[block] for block in range(num_blocks)]]
    grid = np.arange(num_blocks).reshape(mesh.pp, -1, width)
    return [[[int(block) for block in stage] for stage in column] for column in np.moveaxis(grid, 1, 0)]


def _place_column(column: list[list[int]], racks: dict[str, list[Server]], blocks: dict[int, Server]) -> None:
    """Give each block of `column` a server, taken out of `racks`, with as few cuts between stages as possible."""
    stages = column
    while stages:
        width = len(stages[0])
        fits = [rack for rack in racks.values() if len(rack) >= width * len(stages)]
        # The fullest rack that takes all keeps the neighbours along dp near, too.
        rack = min(fits, key=len) if fits else max(racks.values(), key=len)
        if len(rack) < width:
            stages = [[block] for stage in stages for block in stage]
            continue
        here = stages[: len(rack) // width]
        for block in (block for stage in here for block in stage):
            blocks[block] = rack.pop(0)
        stages = stages[len(here) :]


def _exchange(servers: list[Server], mesh: Mesh, per_server: int) -> list[Server]:
    """Exchange servers of different racks, best pair first, until no exchange saves links between racks."""
    num_blocks = len(servers)
    rack = _codes([server.rack for server in servers])
    if rack.max() == 0:
        return servers
    links = np.zeros((num_blocks, num_blocks))
    weights: tuple[tuple[Axis, int], ...] = (("pp", 1), ("mp", mesh.num_ranks))  # One mp link outweighs all of pp.
    for axis, weight in weights:
        line, after = (ranks.reshape(-1) // per_server for ranks in _neighbours(mesh, axis))
        np.add.at(links, (line, after), weight)
        np.add.at(links, (after, line), weight)
    np.fill_diagonal(links, 0)
    order = np.arange(num_blocks)
    while True:
        # to_rack[block, r]: what a block sends to rack r; moving it there saves that and costs what it sends its own.
        to_rack = np.stack([links[:, rack == r].sum(1) for r in range(rack.max() + 1)], axis=1)
        saved = to_rack[:, rack] - to_rack[np.arange(num_blocks), rack][:, None]
        gain = saved + saved.T - 2 * links
        one, other = np.unravel_index(gain.argmax(), gain.shape)
        if gain[one, other] <= 0:
            return [servers[index] for index in order]
        order[[one, other]] = order[[other, one]]
        rack[[one, other]] = rack[[other, one]]


def _neighbours(mesh: Mesh, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    """Both ends of each link of the groups of `axis`, [groups, links]: dp and mp groups are rings, pp is not."""
    line = np.moveaxis(mesh.ranks, AXES.index(axis), -1).reshape(-1, mesh.size(axis))
    after = np.roll(line, -1, axis=1)
    return (line[:, :-1], after[:, :-1]) if axis == "pp" or mesh.size(axis) <= 2 else (line, after)


def count_links(table: RankTable, mesh: Mesh) -> list[Links]:
    """For each axis of `mesh` with more than one rank: links between neighbours that leave a ring, a server, a rack."""
    places = list(table.by_rank.values())
    server = _codes([server.server_id for server, _ in places])
    rack = _codes([server.rack for server, _ in places])
    ring = np.array([device.device_id // RING for _, device in places])
    counts = []
    for axis in AXES:
        if mesh.size(axis) == 1:
            continue
        line, after = _neighbours(mesh, axis)
        far = rack[line] != rack[after]
        near = ~far & (server[line] != server[after])
        inside = ~far & ~near & (ring[line] != ring[after])
        rings, servers, racks = (int(links.sum()) for links in (inside, near, far))
        counts.append(Links(axis, len(line), line.size, rings, servers, racks, int(far.sum(axis=1).max())))
    return counts


def shuffled(table: RankTable, seed: int) -> RankTable:
    """The same servers in a random order, for comparison."""
    servers = list(table.servers)
    random.Random(seed).shuffle(servers)
    return numbered(table.version, servers)


def _codes(names: Sequence[str]) -> np.ndarray:
    return np.unique(np.array(names), return_inverse=True)[1]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
