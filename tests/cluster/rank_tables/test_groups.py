"""Rank tables with a `group_list`, as ModelArts and Kubernetes write them: read, checked, converted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.cluster.rank_tables.check import check_file
from pangu_alpha.cluster.rank_tables.placement import arrange
from pangu_alpha.cluster.rank_tables.rank_table import read_rank_table, write_rank_table

Document = dict[str, Any]
Write = Callable[[Document], Path]


def _pods() -> Document:
    """Of ModelArts: a pod a server, no ranks; the first pod is not on the first server of the dictionary."""
    instances = [
        {
            "pod_name": f"job-7f-train-{pod}",
            "server_id": server_id,
            "devices": [{"device_id": str(d), "device_ip": f"192.{d % 4 + 1}.{pod}.{d + 1}"} for d in range(8)],
        }
        for pod, server_id in enumerate(("10.19.1.79", "10.19.1.142"))
    ]
    group = {"group_name": "train", "device_count": "16", "instance_count": "2", "instance_list": instances}
    return {"status": "completed", "group_count": "1", "group_list": [group]}


def _ranks() -> Document:
    """Of 2019: an instance a rank, and devices of one server in an order of their own."""
    instances = [
        {
            "devices": [{"device_id": str(d), "device_ip": f"192.168.{100 + d % 4}.{101 - d // 4}"}],
            "rank_id": str(7 - d),
            "server_id": "0.0.0.0",
        }
        for d in range(8)
    ]
    group = {
        "group_name": "", "device_num": "8", "server_num": "1", "instance_count": "8", "instance_list": instances,
    }  # fmt: skip
    return {
        "board_id": "0x0000", "chip_info": "910", "deploy_mode": "lab", "group_count": "1", "group_list": [group],
        "para_plane_nic_location": "device", "para_plane_nic_num": "8", "status": "completed",
    }  # fmt: skip


@pytest.mark.parametrize("make", [_pods, _ranks])
def test_read_checked_and_converted(make: Callable[[], Document], rank_table_file: Write, tmp_path: Path) -> None:
    path = rank_table_file(make())
    assert check_file(path) == []
    table = read_rank_table(path)
    assert table.is_grouped
    converted = tmp_path / "converted.json"
    write_rank_table(table, converted)
    assert check_file(converted) == []
    again = read_rank_table(converted)
    assert (again.servers, again.is_grouped) == (table.servers, False)


def test_pods_are_numbered_as_cann_numbers_them(rank_table_file: Write) -> None:
    table = read_rank_table(rank_table_file(_pods()))
    # "10.19.1.142" comes before "10.19.1.79", though its pod is the second.
    assert [table.by_rank[rank][0].server_id for rank in (0, 7, 8, 15)] == ["10.19.1.142"] * 2 + ["10.19.1.79"] * 2
    assert table.by_rank[3][1].device_ip == "192.4.1.4"
    assert table.by_rank[8][1].extra == {"pod_name": "job-7f-train-0"}
    made = arrange(table.servers, "1.0", None, keep_server_ids=False).table
    assert made.by_rank == table.by_rank


def test_ranks_of_the_file_are_kept_with_deploy_mode(rank_table_file: Write) -> None:
    table = read_rank_table(rank_table_file(_ranks()))
    assert [device.device_id for _, device in table.by_rank.values()] == [7, 6, 5, 4, 3, 2, 1, 0]


def _instance(document: Document, number: int = 1) -> Document:
    instance: Document = document["group_list"][0]["instance_list"][number]
    return instance


@pytest.mark.parametrize(
    ("make", "spoil", "what", "where"),
    [
        (_pods, lambda d: d.update(group_count="2"), "says 2, and group_list has 1", "group_count"),
        (_pods, lambda d: d["group_list"][0].update(device_count="15"), "instance_list has 16", "device_count"),
        (_pods, lambda d: d["group_list"][0].pop("device_count"), 'is missing', "device_count"),
        (_pods, lambda d: d["group_list"][0].update(instance_count="3"), "instance_list has 2", "instance_count"),
        (_pods, lambda d: d.update(status="initializing"), "not 'completed'", "status"),
        (_pods, lambda d: d.update(version="1.0"), "mixed formats", "group_list"),
        (_pods, lambda d: d.update(version="group_list"), "'group_list' is none that HCCL knows", "version"),
        (_pods, lambda d: d.update(server_list=[]), "mixed formats", "server_list"),
        (_pods, lambda d: _instance(d).pop("pod_name"), "is missing", "instance_list[1].pod_name"),
        (_pods, lambda d: _instance(d).update(pod_name="job-7f-train-0"), "is listed 2 times", "pod_name"),
        (_pods, lambda d: _instance(d).pop("server_id"), "is missing", "instance_list[1].server_id"),
        (_pods, lambda d: _instance(d).update(devices=[]), "is wrong", "instance_list[1].devices"),
        (_pods, lambda d: _instance(d)["devices"][2].pop("device_ip"), "has no device_ip", "device 2"),
        (_pods, lambda d: _instance(d)["devices"][2].update(device_id="1"), "device_id 1 is there 2", "10.19.1.142"),
        (_pods, lambda d: _instance(d).update(rank_id="9"), "rank_id is 9, but without deploy_mode", "10.19.1.142"),
        (_ranks, lambda d: _instance(d).pop("rank_id"), "every instance says its rank", "instance_list[1].rank_id"),
        (_ranks, lambda d: _instance(d).update(rank_id="0"), "rank 0 is also that of", "server 0.0.0.0"),
        (_ranks, lambda d: d["group_list"][0].update(server_num="2"), "says 2", "server_num"),
        (_ranks, lambda d: d.update(para_plane_nic_location="host"), "HCCL takes only 'device'", "nic_location"),
    ],
)  # fmt: skip
def test_every_break_is_named(
    make: Callable[[], Document], spoil: Callable[[Document], Any], what: str, where: str, rank_table_file: Write
) -> None:
    document = make()
    spoil(document)
    problems = check_file(rank_table_file(document))
    assert any(what in problem.what and where in problem.where for problem in problems), problems
    assert all(problem.fix and "2019" not in problem.what for problem in problems)
