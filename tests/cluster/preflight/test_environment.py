from __future__ import annotations

import resource
from collections.abc import Iterator
from typing import Any

import pytest

from pangu_alpha.cluster.preflight.environment import check_limits, check_variables


@pytest.fixture
def limits() -> Iterator[Any]:
    """Lowers soft limits of this process for one test."""
    before = {}

    def lower(name: int, value: int) -> None:
        before[name] = resource.getrlimit(name)
        resource.setrlimit(name, (value, before[name][1]))

    yield lower
    for name, value in before.items():
        resource.setrlimit(name, value)


def test_limits_of_this_machine_suffice_for_a_small_network(recipe: Any) -> None:
    (finding,) = check_limits(recipe())
    assert finding.state == "ok"


@pytest.mark.parametrize(
    ("name", "value", "letter"),
    [
        (resource.RLIMIT_NOFILE, 1000, "n"),
        (resource.RLIMIT_NPROC, 100, "u"),
        (resource.RLIMIT_FSIZE, 30_000_000, "f"),
        (resource.RLIMIT_STACK, 1 << 20, "s"),
        (resource.RLIMIT_AS, 1 << 40, "v"),
    ],
)
def test_each_limit_that_is_too_low_is_named(recipe: Any, limits: Any, name: int, value: int, letter: str) -> None:
    limits(name, value)
    (finding,) = check_limits(recipe())
    assert (finding.what, finding.state) == (f"ulimit -{letter}", "bad")
    assert f"ulimit -{letter}" in finding.fix


def test_open_files_grow_with_the_ranks(recipe: Any, limits: Any) -> None:
    limits(resource.RLIMIT_NOFILE, 1024 + 2 * 64)
    assert check_limits(recipe("parallel.dp=16", "parallel.mp=4"))[0].state == "ok"
    assert check_limits(recipe("parallel.dp=16", "parallel.mp=4", "parallel.pp=2"))[0].state == "bad"


def test_variables_as_the_launchers_set_them(recipe: Any) -> None:
    variables = {
        "RANK_TABLE_FILE": "",
        "RANK_ID": "7",
        "RANK_SIZE": "8",
        "DEVICE_ID": "3",
        "ASCEND_RT_VISIBLE_DEVICES": "0,1,2,3",
        "HCCL_CONNECT_TIMEOUT": "6000",
    }
    (finding,) = check_variables(recipe("parallel.dp=8"), variables)
    assert finding.state == "ok"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"RANK_SIZE": "4"}, "RANK_SIZE=4, but the recipe's mesh has 8 devices"),
        ({"MS_WORKER_NUM": "2"}, "MS_WORKER_NUM=2"),
        ({"RANK_ID": "8", "RANK_SIZE": "8"}, "RANK_ID=8 is not below RANK_SIZE=8"),
        ({"MS_ROLE": "MS_WORKER"}, "without MS_SCHED_PORT"),
        ({"MS_SIMULATION_LEVEL": "1"}, "only pretend"),
        ({"RANK_TABLE_FILE": "table.json"}, "would compile for another backend"),
        ({"DEVICE_ID": "1", "ASCEND_DEVICE_ID": "2"}, "ASCEND_DEVICE_ID=2"),
        ({"DEVICE_ID": "5", "ASCEND_RT_VISIBLE_DEVICES": "0,1"}, "not in ASCEND_RT_VISIBLE_DEVICES"),
        ({"HCCL_CONNECT_TIMEOUT": "60"}, "not between 120 and 7200"),
        ({"HCCL_CONNECT_TIMEOUT": "long"}, "not between 120 and 7200"),
        ({"HCCL_WHITELIST_DISABLE": "0"}, "HCCL_WHITELIST_FILE"),
        ({"ASCEND_HOME_PATH": "/nowhere"}, "no such directory"),
    ],
)
def test_each_contradiction_is_named(recipe: Any, variables: dict[str, str], said: str) -> None:
    (finding,) = check_variables(recipe("parallel.dp=8", "device=ascend"), variables)
    assert finding.state == "bad"
    assert said in finding.found
    assert finding.fix
