from __future__ import annotations

import copy
import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pangu_alpha.cluster.rank_tables.check import check_file, find_problems, ports_in_use
from pangu_alpha.cluster.rank_tables.rank_table import Device, RankTable, Server, numbered, read_rank_table, to_document
from pangu_alpha.topology.mesh import Mesh

Document = dict[str, Any]
Documents = dict[str, Document]
Write = Callable[[Document], Path]


def test_all_problems_are_named_at_once(rank_table_documents: Documents, rank_table_file: Write) -> None:
    document = rank_table_documents["1.0"]
    document.update(status="initializing", server_count="3")
    document["server_list"][0]["device"][0]["rank_id"] = 0
    document["server_list"][1]["device"][1]["device_ip"] = "192.168.100.101"
    problems = check_file(rank_table_file(document))
    assert [problem.where for problem in problems] == [
        "server_list[0].device[0].rank_id",
        "server_count",
        "status",
        "server 10.0.0.2, device 1",
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "not JSON"),
        ('{"version": "1.0",', "not JSON"),
        ("[]", "not a JSON object"),
        ('{"version": "1.0", "version": "1.2"}', "'version' is there twice"),
        (b"\xff\xfe{", "not JSON"),
    ],
)
def test_a_file_that_is_no_table_is_named(text: str | bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert what in check_file(path)[0].what


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_two_devices_that_say_the_same_are_found(
    data: st.DataObject, rank_table_documents: Documents, tmp_path: Path
) -> None:
    version = data.draw(st.sampled_from(["1.0", "1.2"]))
    document = copy.deepcopy(rank_table_documents[version])
    entries = [entry for server in document["server_list"] for entry in server["device"]]
    one, other = data.draw(st.lists(st.sampled_from(range(len(entries))), min_size=2, max_size=2, unique=True))
    field = data.draw(st.sampled_from(["rank_id", "device_ip"]))
    entries[one][field] = entries[other][field]
    path = tmp_path / "t.json"
    path.write_text(json.dumps(document))
    problems = find_problems(read_rank_table(path))
    assert any(str(entries[other][field]) in problem.what for problem in problems)


def test_a_mesh_that_the_devices_cannot_carry(rank_table_documents: Documents, rank_table_file: Write) -> None:
    path = rank_table_file(rank_table_documents["1.0"])
    assert check_file(path, mesh=Mesh(dp=2, mp=8, pp=1)) == []
    (problem,) = check_file(path, mesh=Mesh(dp=2, mp=8, pp=2))
    assert str(problem) == (
        "mesh: dp(2) × mp(8) × pp(2) = 32 ≠ devices(16); change parallel.dp, mp or pp until the product is the number "
        "of devices, or use another rank table"
    )


@pytest.mark.parametrize("version", ["1.0", "1.2", "2.0"])
def test_numbers_of_thousands_of_digits(version: str, rank_table_documents: Documents, tmp_path: Path) -> None:
    text = json.dumps(rank_table_documents[version])
    for number in ('"' + "5" * 5000 + '"', "5" * 5000):
        table = tmp_path / "table.json"
        table.write_text(re.sub(r'"rank_id": "?3"?', f'"rank_id": {number}', text, count=1))
        assert check_file(table)


@pytest.mark.parametrize("name", ["-oProxyCommand=x", "../../x", "a/b"])
def test_a_server_whose_name_is_an_option_or_a_path(
    name: str, rank_table_documents: Documents, rank_table_file: Write
) -> None:
    document = rank_table_documents["1.0"]
    document["server_list"][1]["server_id"] = name
    problems = check_file(rank_table_file(document))
    assert f"server {name!r}: server_id {name!r} is no name of a host" in str(problems[0])


def test_servers_that_are_not_in_the_hosts_file(rank_table_documents: Documents, rank_table_file: Write) -> None:
    path = rank_table_file(rank_table_documents["1.0"])
    assert check_file(path, hosts=["10.0.0.2", "10.0.0.1", "10.0.0.3"]) == []
    (problem,) = check_file(path, hosts=["10.0.0.1", "10.0.0.20"])
    assert (problem.where, problem.what) == ("server 10.0.0.2", "10.0.0.2 is not in the hosts file")
    # Format 1.2 has names; the hosts file may have these or the addresses.
    named = rank_table_file(rank_table_documents["1.2"])
    assert check_file(named, hosts=["172.16.0.100", "node_1"]) == []


def _on_this_host(*addresses: str) -> RankTable:
    return numbered(
        "1.0", [Server(address, (Device(0, 0, f"192.168.0.{i}"),)) for i, address in enumerate(addresses, 1)]
    )


def test_reserved_ports_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        monkeypatch.setenv("HCCL_IF_BASE_PORT", str(port - 3))
        (problem,) = ports_in_use(_on_this_host("127.0.0.1", "192.0.2.7"))
        assert str(port) in problem.what
        assert problem.where == "this host, 127.0.0.1"
    assert not any(str(port) in problem.what for problem in ports_in_use(_on_this_host("127.0.0.1")))


def test_ports_of_other_hosts_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("", 0))
        listener.listen()
        monkeypatch.setenv("HCCL_IF_BASE_PORT", str(listener.getsockname()[1]))
        assert list(ports_in_use(_on_this_host("192.0.2.1", "localhost"))) == []


@pytest.mark.parametrize("text", ["sixty", "65530"])
def test_a_base_port_that_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCCL_IF_BASE_PORT", text)
    (problem,) = ports_in_use(_on_this_host("127.0.0.1"))
    assert str(problem) == f"this host: HCCL_IF_BASE_PORT={text} is not a port; write a number from 1024 to 65520"


def test_addresses_may_be_left_out_inside_one_server() -> None:
    assert find_problems(numbered("1.0", [Server("10.0.0.1", (Device(0, 0), Device(1, 0)))])) == []
    (problem,) = find_problems(numbered("1.0", [Server(f"10.0.0.{s}", (Device(0, 0),)) for s in (1, 2)]))
    assert problem.what == "has no device_ip"
    assert problem.where == "server 10.0.0.1, device 0 and 1 more"


def test_the_same_mistake_on_every_card_is_one_line(rank_table_file: Write) -> None:
    servers = [
        Server(f"node_{s:03}", tuple(Device(d, 0, f"192.168.{s}.{d + 1}") for d in range(8))) for s in range(256)
    ]
    document = to_document(numbered("1.0", servers))
    for server in document["server_list"]:
        for entry in server["device"]:
            entry["rank_id"] = int(entry["rank_id"])
            entry["device_ip"] = f"{entry['device_ip']}.1"
    problems = check_file(rank_table_file(document))
    assert len(problems) == 2
    assert problems[0].what == "is the number 0, and HCCL wants a string (and the same at 2047 other place(s))"
    assert "is not an address (and the same at 2047 other place(s))" in problems[1].what


def _super_pods(order: str) -> Document:
    """Servers of two dies in format 1.2; the letters are their super-pods, in the order of their ranks."""
    servers = [
        Server(f"node_{s}", tuple(Device(d, 0, f"10.0.{s}.{d + 1}", f"{s * 2 + d}") for d in range(2)), pod)
        for s, pod in enumerate(order)
    ]
    return to_document(numbered("1.2", servers))


def test_super_pods_may_not_cross(rank_table_file: Write) -> None:
    assert check_file(rank_table_file(_super_pods("BBAA"))) == []
    (problem,) = check_file(rank_table_file(_super_pods("ABAB")))
    assert problem.where == "super-pod A"
    assert problem.what == (
        "rank 2 of super-pod B is between its ranks 0-1,4-5; CANN wants the ranks of a super-pod to be consecutive"
    )


def test_each_rule_of_order_has_its_source(rank_table_file: Write) -> None:
    document = _super_pods("AA")
    document["server_list"][0]["server_id"] = "node_9"
    document["super_pod_list"][0]["server_list"][0]["server_id"] = "node_9"
    (problem,) = check_file(rank_table_file(document))
    assert "MindSpore's rank table tutorial wants ranks in the dictionary order of server_id" in problem.what
    assert "CANN does not ask for it" in problem.what


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({}, None),
        ({"host_port": "17667"}, "host_port 17667 is that of device 0 and device 1"),
        ({"backup_device_ip": "10.0.0"}, "'10.0.0' is not an address"),
        ({"backup_device_ip": "10.0.0.1"}, "is the device's own address"),
        ({"backup_device_ip": "10.0.1.1"}, "is that of server node_1, device 0: not of the same NPU"),
        ({"backup_device_port": "16666"}, "has backup_device_port 16666, which device 1 uses as device_port"),
        ({"backup_device_port": "0"}, "backup_device_port '0' is not a port"),
        ({"backup_device_ip": "10.0.0.99"}, None),
    ],
)
def test_ports_of_the_host_and_backup_addresses(
    values: dict[str, str], what: str | None, rank_table_file: Write
) -> None:
    servers = [
        Server(f"node_{s}", tuple(Device(d, 0, f"10.0.{s}.{d + 1}", f"{s * 2 + d}") for d in range(2)), "A")
        for s in range(2)
    ]
    document = to_document(numbered("1.2", servers))
    for s, server in enumerate(document["server_list"]):
        for d, entry in enumerate(server["device"]):
            entry.update(device_port="16666", backup_device_ip=f"10.0.{s}.{2 - d}", backup_device_port="16667")
            entry["host_port"] = str(17666 + d)
    document["server_list"][0]["device"][0].update(values)
    problems = check_file(rank_table_file(document))
    assert any(what in problem.what for problem in problems) if what else problems == [], problems


def test_one_backup_address_for_two_devices(rank_table_file: Write) -> None:
    document = _super_pods("A")
    for entry in document["server_list"][0]["device"]:
        entry["backup_device_ip"] = "10.9.9.9"
    (problem,) = check_file(rank_table_file(document))
    assert problem.what == "backup_device_ip 10.9.9.9 is also that of server node_0, device 0"
