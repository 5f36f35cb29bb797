"""The rule for groups of ranks is closed; here it is held against the groups themselves."""

from __future__ import annotations

import itertools
from collections import defaultdict

import pytest

from pangu_alpha.config import ParallelConfig, groups_problem, load_config
from pangu_alpha.errors import ConfigError
from pangu_alpha.topology.mesh import AXES, Mesh


def creates(ranks: tuple[int, ...]) -> bool:
    """What MindSpore's device manager accepts as a group on Ascend: servers of 8, the same places on each."""
    servers: dict[int, list[int]] = defaultdict(list)
    for rank in ranks:
        servers[rank // 8].append(rank % 8)
    first, *others = servers.values()
    return all(places == first for places in others) and len(first) in (1, 2, 4, 8)


def test_the_rule_is_that_of_the_groups() -> None:
    for dp, mp, pp in itertools.product((1, 2, 3, 4, 6, 8, 12), repeat=3):
        mesh = Mesh(dp, mp, pp)
        groups = [group for axis in AXES for group in mesh.groups(axis)] + list(map(mesh.stage_ranks, range(pp)))
        accepted = all(map(creates, groups)) and (mesh.num_ranks in (1, 2, 4) or mesh.num_ranks % 8 == 0)
        assert accepted == (groups_problem(ParallelConfig(dp=dp, mp=mp, pp=pp)) is None), str(mesh)


@pytest.mark.parametrize(
    ("sizes", "is_refused"),
    [
        *((sizes, False) for sizes in ((3, 8, 1), (24, 1, 1), (8, 1, 3), (6, 4, 1), (4, 2, 3), (1, 24, 1), (7, 8, 1))),
        *((sizes, False) for sizes in ((2, 2, 4), (2, 1, 8), (16, 1, 2), (1, 1, 1), (1, 2, 2))),
        *((sizes, True) for sizes in ((3, 1, 1), (1, 1, 3), (8, 3, 1), (2, 3, 1), (6, 1, 1), (3, 4, 2), (4, 6, 1))),
        ((2, 12, 1), True),
    ],
)
def test_what_mindspore_said_when_these_were_compiled(sizes: tuple[int, int, int], is_refused: bool) -> None:
    dp, mp, pp = sizes
    assert (groups_problem(ParallelConfig(dp=dp, mp=mp, pp=pp)) is not None) == is_refused


def test_processes_of_a_cpu_are_no_mesh() -> None:
    assert load_config("tiny_cpu", ["parallel.dp=3", "train.batch_size=6"]).parallel.dp == 3


@pytest.mark.parametrize(
    "setting",
    [
        "model.num_layers=1000000",
        "model.hidden_size=4000000000",
        "train.batch_size=100000000",
        "train.steps=10000000000000000",
    ],
)
def test_sizes_that_would_never_come_to_an_end_are_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match=setting.partition("=")[0]):
        load_config("200b_2048", [setting])
