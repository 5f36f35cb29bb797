from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.cluster.preflight.table import check_rank_table, devices_of
from pangu_alpha.cluster.rank_tables.rank_table import Device, RankTable, Server


@pytest.fixture
def table_file(tmp_path: Path) -> Path:
    """Four devices on each of two servers."""
    servers = [
        {
            "server_id": f"10.0.0.{host}",
            "device": [
                {"device_id": str(i), "device_ip": f"192.168.{host}.{i + 1}", "rank_id": str(4 * host + i - 4)}
                for i in range(4)
            ],
        }
        for host in (1, 2)
    ]
    path = tmp_path / "table.json"
    table = {"version": "1.0", "server_count": "2", "server_list": servers, "status": "completed"}
    path.write_text(json.dumps(table))
    return path


def test_a_good_table(table_file: Path, recipe: Any) -> None:
    (finding,), table = check_rank_table(table_file, recipe("parallel.dp=8"))
    assert (finding.state, finding.found) == ("ok", "8 devices on 2 servers")
    assert table is not None


def test_every_problem_is_named_with_its_fix(table_file: Path, recipe: Any) -> None:
    table_file.write_text(table_file.read_text().replace("192.168.2.1", "192.168.1.4"))
    findings, _ = check_rank_table(table_file, recipe("parallel.dp=16"))
    assert [finding.state for finding in findings] == ["bad", "bad"]
    assert any("192.168.1.4" in finding.found for finding in findings)
    assert any("dp(16)" in finding.found for finding in findings)
    assert all(finding.fix for finding in findings)


def test_a_table_that_is_none(tmp_path: Path, recipe: Any) -> None:
    assert check_rank_table(None, recipe())[0][0].state == "skipped"
    for text in (None, "no JSON", "{}"):
        path = tmp_path / "broken.json"
        if text is not None:
            path.write_text(text)
        findings, table = check_rank_table(path, recipe())
        assert [finding.state for finding in findings] == ["bad"]
        assert table is None


def test_the_devices_of_this_server() -> None:
    servers = (Server("10.99.99.99", (Device(0, 0),)), Server("node1", (Device(4, 1),), extra={"host_ip": "127.0.0.1"}))
    table = RankTable("1.0", servers)
    assert devices_of(table, None) == [4]  # by address
    assert devices_of(table, "10.99.99.99") == [0]
    assert devices_of(table, "127.0.0.1") == [4]
    assert devices_of(table, "10.0.0.7") is None
    assert devices_of(RankTable("1.0", servers[:1]), None) is None


def test_a_table_of_pods_will_do(tmp_path: Path, recipe: Any) -> None:
    path = tmp_path / "pods.json"
    pod = {"pod_name": "a-0", "server_id": "10.0.0.1", "devices": [{"device_id": "0", "device_ip": "192.168.0.1"}]}
    group = {"group_name": "train", "device_count": "1", "instance_count": "1", "instance_list": [pod]}
    path.write_text(json.dumps({"status": "completed", "group_count": "1", "group_list": [group]}))
    assert [finding.state for finding in check_rank_table(path, recipe())[0]] == ["ok"]
    assert [finding.state for finding in check_rank_table(path, recipe("device=ascend"))[0]] == ["ok"]
