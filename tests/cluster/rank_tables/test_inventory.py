from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.cluster.rank_tables.inventory import (
    Devices,
    choose_devices,
    read_hosts,
    read_inventory,
    read_racks,
    with_racks,
)
from pangu_alpha.errors import ClusterError

HOSTS = """# the room
10.0.0.[1-2] slots=8 rack=r0
10.0.1.1 rack=r1  # in repair: 10.0.1.2

node7
"""


def _file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_hosts_file(tmp_path: Path) -> None:
    path = _file(tmp_path, "hosts.txt", HOSTS)
    assert read_hosts(path) == {"10.0.0.1": "r0", "10.0.0.2": "r0", "10.0.1.1": "r1", "node7": ""}
    assert list(read_hosts(path)) == ["10.0.0.1", "10.0.0.2", "10.0.1.1", "node7"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no hosts in it"),
        ("# nothing\n", "no hosts in it"),
        ("10.0.0.1\n10.0.0.[1-2]\n", "line 2: host 10.0.0.1 is there already"),
        ("10.0.0.[1\n", "is not a range"),
    ],
)
def test_hosts_files_that_are_wrong(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=message):
        read_hosts(_file(tmp_path, "hosts.txt", text))


def test_hosts_file_with_an_address_pattern(tmp_path: Path) -> None:
    path = _file(tmp_path, "hosts.txt", "10.0.0.[1-2] rack=r0\n")
    devices = Devices(devices="0-3", device_ip="192.168.{100 + device}.{d}")
    first, second = read_inventory(path, devices)
    assert (second.server_id, second.rack) == ("10.0.0.2", "r0")
    assert [device.device_ip for device in second.devices] == [f"192.168.{100 + d}.2" for d in range(4)]
    assert [device.device_id for device in first.devices] == [0, 1, 2, 3]
    with pytest.raises(ClusterError, match="give the pattern that they follow"):
        read_inventory(path, Devices())


def test_yaml_inventory_with_patterns_and_lists(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        "room.yaml",
        "devices: 0-1\n"
        "device_ip: 172.16.{server}.{device + 1}\n"
        "super_device_id: '{server * 2 + device}'\n"
        "racks:\n"
        "  0: 10.0.0.[1-2]\n"
        "  r1: [10.0.1.1, 10.0.1.3]\n"
        "  r2: {10.0.2.1: [192.168.7.1, 192.168.7.9]}\n",
    )
    servers = read_inventory(path, Devices())
    assert [(s.server_id, s.rack) for s in servers] == [
        ("10.0.0.1", "0"),
        ("10.0.0.2", "0"),
        ("10.0.1.1", "r1"),
        ("10.0.1.3", "r1"),
        ("10.0.2.1", "r2"),
    ]
    assert [device.device_ip for device in servers[3].devices] == ["172.16.3.1", "172.16.3.2"]
    assert [device.device_ip for device in servers[4].devices] == ["192.168.7.1", "192.168.7.9"]
    assert [device.super_device_id for device in servers[1].devices] == ["2", "3"]
    assert read_racks(path)["10.0.1.3"] == "r1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("racks: [", "cannot be read as YAML"),
        ("servers: 10.0.0.1", "racks: field required"),
        ("racks: {}", "no servers in it"),
        ("racks: {r0: 10.0.0.1}\nracs: 1", "racs: extra inputs"),
        ("racks: {r0: {10.0.0.1: [10.1.0.1]}}", "1 addresses for the 8 devices 0-7"),
        ("racks: {r0: 10.0.0.1}\ndevices: 0-", "not a list of device numbers"),
        ("racks: {r0: 10.0.0.1}\ndevice_ip: 10.0.0.{x}", "x is unknown"),
        ("racks: {r0: host}\ndevice_ip: 10.0.0.{d}", "d is unknown"),
        ("racks: {r0: {10.0.0.1: text}}", "racks"),
        ("just words", r"an inventory has `racks: \{NAME: SERVERS\}` and"),
        ("racks: {r0: 10.0.0..1}", r"'10.0.0..1' is not the name of a host"),
        ("racks: {r0: 10.0.0.1}\nracks: {r0: 10.0.0.2}", "'racks' is there twice, in line 1 and in line 2"),
        ("racks: {r0: 'n[1-99999999]'}", "over at most 100,000"),
        ("racks: {r0: 10.0.0.1}\ndevices: 0-999999999", "over at most 100,000"),
        ("racks: {r0: 'n[1-50000]'}\ndevices: 0-99", "50,000 servers × 100 devices are more than 800,000"),
        ("racks: {r0: -oProxyCommand=x}", "room.yaml: '-oProxyCommand=x' is not the name of a host"),
        ("racks: {r0: {../../x: [10.1.0.1]}}", "'../../x' is not the name of a host"),
        ("", "an inventory has `racks"),
    ],
)
def test_yaml_inventories_that_are_wrong(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=message):
        read_inventory(_file(tmp_path, "room.yaml", text), Devices())


def test_a_hosts_file_with_an_option_in_the_place_of_a_name(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"hosts, line 2: '-oProxyCommand=x' is not the name of a host"):
        read_racks(_file(tmp_path, "hosts", "10.0.0.1\n-oProxyCommand=x\n"))


@pytest.mark.parametrize("name", ["none.yaml", "none.json", "none.txt"])
def test_missing_inventories(name: str, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="No such file"):
        read_inventory(tmp_path / name, Devices(device_ip="10.0.0.{d}"))


def test_hccl_json_of_kubernetes(tmp_path: Path) -> None:
    """What the MindCluster operator mounts as hccl.json: fields that HCCL does not name are kept."""
    path = _file(
        tmp_path,
        "hccl.json",
        '{"status":"completed","server_list":[{"device":[{"device_id":"0","device_ip":"10.0.2.40","rank_id":"0"}],'
        '"server_id":"10.0.0.1","container_ip":"192.168.247.11","hardware_type":"800-9000"}],'
        '"server_count":"1","version":"1.0"}',
    )
    (server,) = read_inventory(path, Devices())
    assert server.extra == {"container_ip": "192.168.247.11", "hardware_type": "800-9000"}
    assert server.devices[0].device_ip == "10.0.2.40"


def test_racks_are_found_by_address_or_id(
    rank_table_documents: dict[str, dict[str, Any]], rank_table_file: Callable[[dict[str, Any]], Path], tmp_path: Path
) -> None:
    servers = read_inventory(rank_table_file(rank_table_documents["1.2"]), Devices())
    assert [s.rack for s in with_racks(servers, {"172.16.0.100": "a", "node_1": "b"})] == ["a", "b"]
    assert [s.rack for s in with_racks(servers, {"172.16.0.100": "a"})] == ["a", "1"]


def test_devices_are_chosen(
    rank_table_documents: dict[str, dict[str, Any]], rank_table_file: Callable[[dict[str, Any]], Path]
) -> None:
    servers = read_inventory(rank_table_file(rank_table_documents["1.0"]), Devices())
    assert [[d.device_id for d in s.devices] for s in choose_devices(servers, [4, 5])] == [[4, 5], [4, 5]]
    with pytest.raises(ClusterError, match=r"server 10\.0\.0\.1 has no device 8"):
        choose_devices(servers, [7, 8])
