from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pangu_alpha.cluster.rank_tables.check import find_problems
from pangu_alpha.cluster.rank_tables.placement import Links, arrange, count_links, shuffled
from pangu_alpha.cluster.rank_tables.rank_table import Device, RankTable, Server, numbered
from pangu_alpha.errors import ClusterError
from pangu_alpha.topology.mesh import Mesh


def _room(*racks: int, devices: int = 8) -> list[Server]:
    """Racks with so many servers, of so many devices."""
    return [
        Server(
            f"10.0.{r}.{s + 1}",
            tuple(Device(d, 0, f"192.{r}.{s}.{d + 1}") for d in range(devices)),
            rack=f"rack{r}",
        )
        for r, num_servers in enumerate(racks)
        for s in range(num_servers)
    ]


def _table(servers: list[Server], mesh: Mesh) -> RankTable:
    return arrange(servers, "1.0", mesh, keep_server_ids=False).table


def _links(table: RankTable, mesh: Mesh) -> dict[str, Links]:
    return {links.axis: links for links in count_links(table, mesh)}


def test_figure_5_of_the_paper() -> None:
    """Two racks of three servers of four devices: an operator-level group a server, a replica a rack."""
    mesh = Mesh(dp=2, mp=4, pp=3)
    table = _table(_room(3, 3, devices=4), mesh)
    links = _links(table, mesh)
    assert (links["mp"].across_rings, links["mp"].across_servers, links["mp"].across_racks) == (0, 0, 0)
    assert (links["pp"].across_servers, links["pp"].across_racks) == (links["pp"].num_links, 0)
    assert links["dp"].across_racks == links["dp"].num_links == 12
    for replica in range(2):
        ranks = [int(rank) for rank in mesh.ranks[:, replica].reshape(-1)]
        assert {table.by_rank[rank][0].rack for rank in ranks} == {f"rack{replica}"}
    assert find_problems(table, mesh) == []


def test_the_200b_recipe_fills_a_rack_with_each_replica() -> None:
    mesh = Mesh(dp=16, mp=8, pp=16)
    table = _table(_room(*[16] * 16), mesh)
    links = _links(table, mesh)
    assert (links["mp"].across_servers, links["pp"].across_racks) == (0, 0)
    assert links["pp"].num_links == 15 * 128
    by_chance = _links(shuffled(table, 1), mesh)
    assert by_chance["pp"].across_racks > 0.8 * by_chance["pp"].num_links


def test_operator_groups_of_four_stay_in_their_ring() -> None:
    mesh = Mesh(dp=4, mp=4, pp=2)
    links = _links(_table(_room(2, 2), mesh), mesh)
    assert (links["mp"].across_rings, links["mp"].across_servers) == (0, 0)
    assert links["pp"].across_racks == 0
    # Groups of eight leave the ring twice: from device 3 to 4, and from 7 back to 0.
    mesh = Mesh(dp=4, mp=8, pp=1)
    assert _links(_table(_room(2, 2), mesh), mesh)["mp"].across_rings == 4 * 2


def test_an_operator_group_of_two_servers_stays_in_a_rack() -> None:
    mesh = Mesh(dp=2, mp=16, pp=3)
    links = _links(_table(_room(4, 8), mesh), mesh)
    assert links["mp"].across_racks == 0
    # A replica has three stages of two servers: one fits in the second rack, the other is cut after its second stage.
    assert links["pp"].across_racks == 16


def test_several_stages_in_one_server() -> None:
    mesh = Mesh(dp=1, mp=2, pp=8)
    links = _links(_table(_room(1, 1), mesh), mesh)
    assert links["mp"].across_servers == 0
    assert links["pp"].across_racks == 2  # Both pipelines pass once from the first server to the second.


def test_a_pipeline_longer_than_a_rack_is_cut_as_little_as_possible() -> None:
    mesh = Mesh(dp=2, mp=8, pp=6)
    links = _links(_table(_room(4, 4, 4), mesh), mesh)
    assert links["pp"].across_racks == 8 * 2


def test_servers_that_are_not_needed_are_told() -> None:
    mesh = Mesh(dp=2, mp=8, pp=3)
    arrangement = arrange(_room(4, 4), "1.0", mesh, keep_server_ids=False)
    assert len(arrangement.spare) == 2
    assert {server.rack for server in arrangement.spare} == {"rack0", "rack1"}
    assert _links(arrangement.table, mesh)["pp"].across_racks == 0


def test_a_mesh_smaller_than_a_server_takes_its_first_devices() -> None:
    table = _table(_room(1), Mesh(dp=1, mp=4, pp=1))
    assert [device.device_id for device in table.servers[0].devices] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("servers", "mesh", "message"),
    [
        (_room(1), Mesh(2, 8, 1), r"= 16 ranks do not fit on 1 server\(s\) of 8 devices; change"),
        (_room(2), Mesh(3, 4, 1), "the last server would not be full"),
        (_room(1) + _room(0, 1, devices=4), Mesh(1, 8, 1), "have 4 and 8 devices"),
    ],
)
def test_servers_that_cannot_carry_the_mesh(servers: list[Server], mesh: Mesh, message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        arrange(servers, "1.0", mesh, keep_server_ids=False)


def test_hccl_wants_the_dictionary_order_of_server_ids() -> None:
    mesh = Mesh(dp=2, mp=8, pp=2)
    renamed = arrange(_room(2, 2), "1.0", mesh, keep_server_ids=False)
    assert [(server.server_id, server.address) for server in renamed.table.servers] == [
        ("node_0", "10.0.0.1"),
        ("node_1", "10.0.1.1"),
        ("node_2", "10.0.0.2"),
        ("node_3", "10.0.1.2"),
    ]
    assert renamed.note is not None and "dictionary order" in renamed.note and "host_ip" in renamed.note
    kept = arrange(_room(2, 2), "1.0", mesh, keep_server_ids=True)
    assert [server.server_id for server in kept.table.servers] == ["10.0.0.1", "10.0.0.2", "10.0.1.1", "10.0.1.2"]
    assert kept.note is not None and "cross more" in kept.note
    for arrangement in (renamed, kept):
        assert find_problems(arrangement.table, mesh) == []
    assert _links(renamed.table, mesh)["pp"].across_racks == 0
    assert _links(kept.table, mesh)["pp"].across_racks == 16


def test_more_than_ten_servers_keep_the_dictionary_order() -> None:
    table = _table(_room(6, 6), Mesh(dp=2, mp=8, pp=6))
    assert table.servers[-1].server_id == "node_11"
    assert [s.server_id for s in table.servers] == sorted(s.server_id for s in table.servers)


def test_names_without_addresses_are_never_replaced() -> None:
    servers = [Server(f"host-{s}", (Device(0, 0, f"10.0.0.{s}"),), rack=f"r{s // 2}") for s in range(4)]
    arrangement = arrange(servers, "1.0", Mesh(dp=2, mp=1, pp=2), keep_server_ids=False)
    assert [server.server_id for server in arrangement.table.servers] == [f"host-{s}" for s in range(4)]
    assert arrangement.note is not None


def test_format_2_0_needs_no_names() -> None:
    arrangement = arrange(_room(2, 2), "2.0", Mesh(dp=2, mp=8, pp=2), keep_server_ids=False)
    assert arrangement.note is None
    assert [s.server_id for s in arrangement.table.servers] == ["10.0.0.1", "10.0.1.1", "10.0.0.2", "10.0.1.2"]


def test_without_a_mesh_servers_follow_their_ids() -> None:
    servers = list(reversed(_room(2)))
    assert [s.server_id for s in arrange(servers, "1.0", None, False).table.servers] == ["10.0.0.1", "10.0.0.2"]


def test_links_counted_by_hand() -> None:
    # Ranks 0 1 | 2 3 | 4 5 | 6 7 on servers a b c d, where a and b are in one rack, c and d in another.
    servers = [Server(name, (Device(3, 0), Device(4, 0)), rack) for name, rack in zip("abcd", "xxyy", strict=True)]
    mesh = Mesh(dp=4, mp=2, pp=1)
    dp, mp = count_links(numbered("1.0", servers), mesh)
    # Each of two rings a-b-c-d-a passes racks from b to c and from d to a.
    assert dp == Links("dp", 2, 8, across_rings=0, across_servers=4, across_racks=4, worst_group=2)
    assert mp == Links("mp", 4, 4, across_rings=4, across_servers=0, across_racks=0, worst_group=0)


def _cost(table: RankTable, mesh: Mesh) -> tuple[int, int]:
    """Links between racks of operator-level groups, which count first, and of pipelines."""
    across = {axis: links.across_racks for axis, links in _links(table, mesh).items()}
    return across.get("mp", 0), across.get("pp", 0)


@pytest.mark.parametrize("sizes", [(1, 5), (2, 4), (3, 3), (2, 2, 2), (1, 2, 3), (4, 2), (1, 1, 4), (1, 1, 2, 2)])
@pytest.mark.parametrize("mesh", [Mesh(3, 1, 2), Mesh(2, 1, 3), Mesh(1, 1, 6), Mesh(1, 2, 3), Mesh(1, 3, 2)], ids=str)
def test_no_order_of_six_servers_is_better(sizes: tuple[int, ...], mesh: Mesh) -> None:
    def cost(racks: Sequence[str]) -> tuple[int, int]:
        rings = [(group, group[1:] + group[:1]) for group in mesh.groups("mp")]
        lines = [(group, group[1:]) for group in mesh.groups("pp")]
        mp = sum(racks[a] != racks[b] for group, after in rings for a, b in zip(group, after, strict=True))
        pp = sum(racks[a] != racks[b] for group, after in lines for a, b in zip(group, after, strict=False))
        return (mp // 2 if mesh.mp == 2 else mp), pp

    servers = _room(*sizes, devices=1)
    racks = [server.rack for server in servers]
    best = min(cost(order) for order in set(permutations(racks)))
    table = _table(servers, mesh)
    assert _cost(table, mesh) == cost([server.rack for server, _ in table.by_rank.values()])
    # Where operator-level groups are wider than a server, exchanging pairs may miss the best order by one link.
    assert _cost(table, mesh)[0] == best[0]
    assert _cost(table, mesh)[1] - best[1] <= (mesh.mp > 1)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    devices=st.sampled_from([1, 2, 4, 8]),
    seed=st.integers(0, 1000),
)
def test_any_mesh_is_placed_and_never_worse_than_at_random(sizes: list[int], devices: int, seed: int) -> None:
    servers = _room(*sizes, devices=devices)
    draw = random.Random(seed)
    num_ranks = len(servers) * devices
    mp = draw.choice([n for n in range(1, num_ranks + 1) if num_ranks % n == 0])
    pp = draw.choice([n for n in range(1, num_ranks // mp + 1) if (num_ranks // mp) % n == 0])
    mesh = Mesh(num_ranks // mp // pp, mp, pp)
    table = _table(servers, mesh)
    assert find_problems(table, mesh) == []
    assert sorted(server.address for server in table.servers) == sorted(server.server_id for server in servers)
    assert _cost(table, mesh) <= _cost(shuffled(table, seed), mesh)


@pytest.mark.parametrize("mesh", [None, Mesh(dp=2, mp=8, pp=4)])
def test_super_pods_stay_together(mesh: Mesh | None) -> None:
    """By their addresses, and by a pipeline in each of them, the ranks of the two super-pods would cross."""
    servers = [
        Server(
            f"10.0.0.{s + 1}",
            tuple(Device(d, 0, f"192.0.{s}.{d + 1}", f"{8 * s + d}") for d in range(8)),
            f"pod{s % 2}",
        )
        for s in range(8)
    ]
    arrangement = arrange(servers, "1.2", mesh, keep_server_ids=False)
    assert [server.rack for server in arrangement.table.servers] == ["pod0"] * 4 + ["pod1"] * 4
    assert find_problems(arrangement.table, mesh) == []
    assert arrangement.note is not None and "MindSpore wants" in arrangement.note
