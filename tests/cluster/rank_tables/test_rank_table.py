from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.cluster.rank_tables.rank_table import (
    Device,
    Server,
    numbered,
    read_rank_table,
    to_document,
    write_rank_table,
)
from pangu_alpha.errors import ClusterError

Documents = dict[str, dict[str, Any]]
Write = Callable[[dict[str, Any]], Path]


@pytest.mark.parametrize("version", ["1.0", "1.2", "2.0"])
def test_written_and_read_again_is_the_same(
    version: str, rank_table_documents: Documents, rank_table_file: Write, tmp_path: Path
) -> None:
    document = rank_table_documents[version]
    table = read_rank_table(rank_table_file(document))
    path = tmp_path / "again.json"
    write_rank_table(table, path)
    # The same document: fields that the package does not use included, strings and numbers as they were.
    assert json.loads(path.read_text()) == document
    assert read_rank_table(path) == table
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.endswith(".part")] == []


def test_model_of_format_1_0(rank_table_documents: Documents, rank_table_file: Write) -> None:
    table = read_rank_table(rank_table_file(rank_table_documents["1.0"]))
    assert [server.server_id for server in table.servers] == ["10.0.0.1", "10.0.0.2"]
    assert table.servers[1].devices[3] == Device(3, 11, "192.168.103.103")
    assert table.servers[0].extra == {"host_nic_ip": "reserve"}
    assert table.num_devices == 16
    assert table.by_rank[9] == (table.servers[1], table.servers[1].devices[1])


def test_model_of_format_1_2(rank_table_documents: Documents, rank_table_file: Write) -> None:
    table = read_rank_table(rank_table_file(rank_table_documents["1.2"]))
    assert [(server.rack, server.address) for server in table.servers] == [("0", "172.16.0.100"), ("1", "172.16.0.101")]
    assert table.servers[1].devices[15] == Device(15, 31, "192.168.2.16", "15", {"device_port": "16681"})


def test_model_of_format_2_0(rank_table_documents: Documents, rank_table_file: Write) -> None:
    table = read_rank_table(rank_table_file(rank_table_documents["2.0"]))
    assert [(server.server_id, server.rack) for server in table.servers] == [("az0-rack0", "az0"), ("az0-rack1", "az0")]
    assert table.servers[1].devices[2].rank_id == 10
    assert table.servers[1].devices[2].device_ip == f"{10:032x}"


def test_hccl_gets_strings_where_it_wants_strings() -> None:
    servers = [Server("10.0.0.1", (Device(0, 0, "192.168.0.1", "7"), Device(1, 0, "192.168.0.2", "8")), rack="pod")]
    first = to_document(numbered("1.2", servers))
    assert first["server_count"] == "1"
    assert first["server_list"][0]["device"][1] == {
        "device_id": "1",
        "device_ip": "192.168.0.2",
        "super_device_id": "8",
        "rank_id": "1",
    }
    assert first["super_pod_list"] == [{"super_pod_id": "pod", "server_list": [{"server_id": "10.0.0.1"}]}]
    second = to_document(numbered("2.0", servers))
    assert second["rank_count"] == 2
    layers = second["rank_list"][1].pop("level_list")
    assert second["rank_list"][1] == {"rank_id": 1, "device_id": 1, "local_id": 1}
    assert [(layer["net_layer"], layer["net_instance_id"], layer["net_type"]) for layer in layers] == [
        (0, "10.0.0.1", "TOPO_FILE_DESC"),
        (1, "pod", "CLOS"),
    ]
    assert layers[0]["rank_addr_list"] == [{"addr_type": "IPV4", "addr": "192.168.0.2", "ports": ["0/0"]}]


def test_an_ipv6_address_says_so_in_format_2_0() -> None:
    table = numbered("2.0", [Server("a", (Device(0, 0, "fd00::1"),))])
    assert to_document(table)["rank_list"][0]["level_list"][0]["rank_addr_list"][0]["addr_type"] == "IPV6"


def test_numbered_follows_the_order_of_the_servers() -> None:
    devices = (Device(0, 5), Device(1, 9))
    table = numbered("1.0", [Server("b", devices), Server("a", devices)])
    assert [[device.rank_id for device in server.devices] for server in table.servers] == [[0, 1], [2, 3]]


def test_a_device_is_one_line_of_the_file(
    rank_table_documents: Documents, rank_table_file: Write, tmp_path: Path
) -> None:
    write_rank_table(read_rank_table(rank_table_file(rank_table_documents["1.0"])), tmp_path / "t.json")
    lines = (tmp_path / "t.json").read_text().splitlines()
    assert '    {"device_id": "7", "device_ip": "192.168.103.104", "rank_id": "15"}' in lines


def test_a_file_that_cannot_be_read_or_written_is_named(
    rank_table_documents: Documents, rank_table_file: Write, tmp_path: Path
) -> None:
    with pytest.raises(ClusterError, match=r"none\.json: No such file.*pangu ranktable make"):
        read_rank_table(tmp_path / "none.json")
    table = read_rank_table(rank_table_file(rank_table_documents["1.0"]))
    with pytest.raises(ClusterError, match="cannot be written: No such file"):
        write_rank_table(table, tmp_path / "none" / "t.json")


def test_the_error_counts_further_problems(rank_table_documents: Documents, rank_table_file: Write) -> None:
    document = rank_table_documents["1.0"]
    document["server_list"][0]["device"][0]["rank_id"] = 0
    document["server_list"][0]["device"][1]["rank_id"] = 1
    with pytest.raises(
        ClusterError, match=r"server_list\[0\]\.device\[0\]\.rank_id: is the number 0.* \(1 more: `pangu"
    ):
        read_rank_table(rank_table_file(document))


def test_an_address_is_the_host_ip_when_there_is_one() -> None:
    server = Server("node_0", ())
    assert server.address == "node_0"
    assert replace(server, extra={"host_ip": "10.0.0.1"}).address == "10.0.0.1"
