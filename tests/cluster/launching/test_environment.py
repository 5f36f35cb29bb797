from __future__ import annotations

import os

import pytest

from pangu_alpha.cluster.launching.environment import (
    Card,
    Scheduler,
    card_environment,
    cores_of,
    forwarded_environment,
    num_threads,
    scheduler_environment,
    worker_environment,
)
from pangu_alpha.errors import ClusterError
from pangu_alpha.training.meeting import VARIABLE

SCHEDULER = Scheduler("10.0.0.1", 8118)


def test_a_card_knows_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HCCL_CONNECT_TIMEOUT", raising=False)
    environment = card_environment("ascend", Card(rank=2047, device_id=7), 2048)
    assert environment["RANK_ID"] == "2047"
    assert environment["RANK_SIZE"] == "2048"
    assert environment["DEVICE_ID"] == "7"
    # With a table of its own MindSpore compiles for another backend.
    assert environment["RANK_TABLE_FILE"] == ""
    assert environment["HCCL_CONNECT_TIMEOUT"] == "6000"
    # MindSpore's cache of graphs gives a changed recipe the graph of before, without an error.
    assert environment["MS_COMPILER_CACHE_ENABLE"] == "0"


def test_worker_and_scheduler_agree() -> None:
    worker = worker_environment("cpu", Card(rank=3, device_id=1), 4, SCHEDULER, "10.0.0.2", num_servers=1)
    scheduler = scheduler_environment(4, SCHEDULER)
    for name in ("MS_SCHED_HOST", "MS_SCHED_PORT", "MS_WORKER_NUM"):
        assert worker[name] == scheduler[name]
    assert (worker["MS_ROLE"], worker["MS_NODE_ID"], worker["MS_WORKER_IP"]) == ("MS_WORKER", "3", "10.0.0.2")
    assert scheduler["MS_ROLE"] == "MS_SCHED"
    assert not any(name.startswith(("HCCL", "ASCEND")) for name in worker)


def test_a_time_out_of_the_user_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCCL_CONNECT_TIMEOUT", "1200")
    worker = worker_environment("ascend", Card(0, 0), 8, SCHEDULER, "10.0.0.1", num_servers=1)
    assert worker["HCCL_CONNECT_TIMEOUT"] == "1200"


def test_ranks_of_several_servers_meet_at_a_port_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)

    def place(num_servers: int) -> str | None:
        worker = worker_environment("cpu", Card(3, 1), 4, SCHEDULER, "10.0.0.2", num_servers)
        return worker.get(VARIABLE)

    assert (place(1), place(2)) == (None, "10.0.0.1:8119")
    monkeypatch.setenv(VARIABLE, "10.0.0.1:9000")
    assert place(2) == "10.0.0.1:9000"


@pytest.mark.parametrize("value", ["119", "7201", "", "an hour", "-1"])
def test_time_out_that_cann_refuses(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HCCL_CONNECT_TIMEOUT", value)
    with pytest.raises(ClusterError, match="CANN accepts 120 to 7200 seconds"):
        card_environment("ascend", Card(0, 0), 1)


def test_what_other_servers_get(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASCEND_HOME_PATH", "/usr/local/Ascend")
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.9 1 10.0.0.1 22")
    environment = forwarded_environment()
    assert environment["ASCEND_HOME_PATH"] == "/usr/local/Ascend"
    assert "PATH" in environment and "HOME" not in environment and "SSH_CONNECTION" not in environment


@pytest.mark.parametrize(("num_cores", "num_cards"), [(192, 8), (10, 8), (8, 8), (5, 2)])
def test_every_core_belongs_to_one_card(monkeypatch: pytest.MonkeyPatch, num_cores: int, num_cards: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(num_cores)))
    shares = [cores_of(index, num_cards) or frozenset() for index in range(num_cards)]
    assert sorted(core for share in shares for core in share) == list(range(num_cores))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert num_threads(num_cards) == num_cores // num_cards


def test_too_few_cores_are_shared_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert [cores_of(index, 8) for index in range(8)] == [None] * 8
    assert cores_of(0, 1) is None
    assert num_threads(8) == 1
