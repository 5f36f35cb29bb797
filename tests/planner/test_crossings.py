import random
from itertools import combinations

import numpy as np
import pytest

from pangu_alpha.planner.crossings import Crossing, Units, groups_of
from pangu_alpha.topology.mesh import AXES, Axis, Mesh


def units(*levels: list[int]) -> Units:
    return Units(tuple(np.array(level) for level in levels))


ALL_AXES = [axes for number in (1, 2, 3) for axes in combinations(AXES, number)]


@pytest.mark.parametrize("axes", ALL_AXES)
def test_a_group_has_the_ranks_that_differ_along_its_axes(axes: tuple[Axis, ...]) -> None:
    mesh = Mesh(dp=2, mp=3, pp=2)
    groups = groups_of(axes, mesh)
    assert sorted(groups.reshape(-1)) == list(range(12))
    for group in groups:
        places = [mesh.place(int(rank)) for rank in group]
        for axis, name in (("pp", "stage"), ("dp", "replica"), ("mp", "slice")):
            expected = mesh.size(axis) if axis in axes else 1
            assert len({getattr(place, name) for place in places}) == expected


def test_equal_parts_share_the_tensor() -> None:
    """Two servers of four: three steps of a quarter's part, then one in which each sends half of its quarter."""
    found = units([0, 0, 0, 0, 1, 1, 1, 1], [0] * 8).crossings(("mp",), Mesh(dp=1, mp=8, pp=1))
    assert found == ((Crossing(0, 3, 3 / 4), Crossing(1, 1, 1 / 8)),)


def test_a_smaller_part_fetches_more_with_each_of_its_devices() -> None:
    """Six ranks of one server and two of another: the two fetch six eighths, half of it each."""
    found = units([0, 0, 0, 0, 0, 0, 1, 1], [0] * 8).crossings(("mp",), Mesh(dp=1, mp=8, pp=1))
    assert found == ((Crossing(0, 5, 5 / 6), Crossing(1, 1, 3 / 8)),)


def test_groups_of_one_axis_that_differ_are_all_there() -> None:
    """Groups of two: one inside a server, one across servers of a rack, and two across racks, which are alike."""
    servers, racks = [0, 0, 1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 1, 2, 1, 2]
    found = units(servers, racks, [0] * 8).crossings(("mp",), Mesh(dp=4, mp=2, pp=1))
    assert len(found) == 3 and set(found) == {(Crossing(level, 1, 1 / 2),) for level in (0, 1, 2)}


def test_a_group_that_another_one_exceeds_on_every_level_is_left_out() -> None:
    """Two and two of a group on two servers, three and one of another."""
    found = units([0, 0, 1, 1, 2, 2, 2, 3], [0] * 8).crossings(("mp",), Mesh(dp=2, mp=4, pp=1))
    assert found == ((Crossing(0, 2, 2 / 3), Crossing(1, 1, 3 / 4)),)


def test_hops_are_those_of_all_pipelines() -> None:
    """Four stages of two devices on servers of four: inside the first server, across, inside the second one."""
    places = units([0, 0, 0, 0, 1, 1, 1, 1], [0] * 8)
    assert places.hops(Mesh(dp=2, mp=1, pp=4)) == (0, 1)
    assert places.hops(Mesh(dp=4, mp=1, pp=2)) == (1,)
    assert places.hops(Mesh(dp=1, mp=1, pp=8)) == (0, 1)


def slow_crossings(levels: list[list[int]], group: tuple[int, ...]) -> tuple[Crossing, ...]:
    """What `Units.crossings` says, of one group, written as one thinks of it."""
    found, below = [], {rank: rank for rank in group}
    for level, units_of in enumerate(levels):
        steps, share = 0, 0.0
        for unit in {units_of[rank] for rank in group}:
            members = [rank for rank in group if units_of[rank] == unit]
            parts = {part: [rank for rank in members if below[rank] == part] for part in map(below.get, members)}
            steps = max(steps, len(parts) - 1)
            lacking = [(1 - len(part) / len(members)) / len(part) for part in parts.values()]
            share = max(share, *lacking)
        found += [Crossing(level, steps, pytest.approx(share))] if steps else []
        below = {rank: units_of[rank] for rank in group}
    return tuple(found)


@pytest.mark.parametrize("seed", range(20))
def test_any_places_are_those_of_a_slow_count(seed: int) -> None:
    """Every group is there, or another one that is no less on any level."""
    chance = random.Random(seed)
    mesh = Mesh(*chance.choice([(2, 4, 3), (4, 2, 3), (6, 4, 1), (3, 1, 8)]))
    servers = [chance.randrange(5) for _ in range(24)]
    racks = [server % 2 for server in servers]
    levels = [servers, racks, [0] * 24]
    for axis in AXES:
        if mesh.size(axis) == 1:
            continue
        found = units(*levels).crossings((axis,), mesh)
        slow = [slow_crossings(levels, group) for group in mesh.groups(axis)]
        assert all(kind in slow for kind in found)
        assert all(any(exceeds(kind, group) for kind in found) for group in slow)


def exceeds(kind: tuple[Crossing, ...], other: tuple[Crossing, ...]) -> bool:
    by_level = {crossing.level: crossing for crossing in kind}
    return all(
        crossing.level in by_level
        and by_level[crossing.level].steps >= crossing.steps
        and (by_level[crossing.level].share >= crossing.share.expected - 1e-9)
        for crossing in other
    )
