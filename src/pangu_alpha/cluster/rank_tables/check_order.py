"""The rules for the order of ranks in a rank table, each with who makes it.

CANN (A3 rank tables, and HCCL_LOGIC_SUPERPOD_ID of its environment variables): the ranks of a server, and those of a
super-pod, are consecutive; servers and super-pods may not cross. In which order they follow it does not say.
MindSpore (tutorial "rank table startup", several machines): ranks follow the dictionary order of server_id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from pangu_alpha.cluster.patterns import ranges
from pangu_alpha.cluster.rank_tables.formats import Problem
from pangu_alpha.cluster.rank_tables.rank_table import RankTable

_FIX = "order the servers with `pangu ranktable make` or `merge`"


def find_order_problems(table: RankTable) -> Iterator[Problem]:
    """What is wrong with the order of the ranks of a table of format 1.0 or 1.2; the first case of each rule."""
    servers: dict[str, list[int]] = {}
    pods: dict[str, list[int]] = {}
    for server in table.servers:
        ranks = [device.rank_id for device in server.devices]
        servers.setdefault(server.server_id, []).extend(ranks)
        if table.version == "1.2" and server.rack:
            pods.setdefault(server.rack, []).extend(ranks)
    crossing = list(_crossing("server", servers))
    yield from crossing or _crossing("super-pod", pods)
    if not crossing:
        yield from _dictionary_order(servers)


def _crossing(kind: str, members: Mapping[str, Sequence[int]]) -> Iterator[Problem]:
    owner = {rank: name for name, ranks in members.items() for rank in ranks}
    for name, ranks in members.items():
        between = range(min(ranks), max(ranks)) if ranks else ()
        other = next((rank for rank in between if owner.get(rank, name) != name), None)
        if other is not None:
            what = (
                f"rank {other} of {kind} {owner[other]} is between its ranks {ranges(ranks)}; CANN wants the ranks of "
                f"a {kind} to be consecutive"
            )
            yield Problem(what, f"{kind} {name}", _FIX)
            return


def _dictionary_order(servers: Mapping[str, Sequence[int]]) -> Iterator[Problem]:
    for before, after in pairwise(sorted(name for name, ranks in servers.items() if ranks)):
        lowest, highest = min(servers[after]), max(servers[before])
        if lowest < highest:
            what = (
                f"rank {lowest} comes before rank {highest} of server {before}; MindSpore's rank table tutorial wants "
                "ranks in the dictionary order of server_id (CANN does not ask for it)"
            )
            yield Problem(what, f"server {after}", _FIX)
            return
