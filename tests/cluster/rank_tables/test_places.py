import json
from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.cluster.rank_tables.places import places_of, read_cluster
from pangu_alpha.cluster.rank_tables.rank_table import Device, Server, numbered, write_rank_table
from pangu_alpha.errors import ClusterError

INVENTORY = "devices: 0-1\nracks:\n  rack0: [10.0.0.2, 10.0.0.1]\n  rack1: 10.0.1.1\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def table(path: Path, servers: dict[str, str], version: Any = "1.0") -> Path:
    """A rank table of servers with two devices, and the racks of those that have one."""
    made = [
        Server(name, tuple(Device(d, 0, f"192.168.{s}.{d}", str(d)) for d in (0, 1)), rack)
        for s, (name, rack) in enumerate(servers.items())
    ]
    write_rank_table(numbered(version, made), path)
    return path


def test_an_inventory_gives_ranks_in_its_order_and_racks(tmp_path: Path) -> None:
    path = write(tmp_path / "cluster.yaml", INVENTORY)
    places = places_of(read_cluster(path), path)
    assert places.source == "cluster.yaml"
    assert places.servers == ("10.0.0.2",) * 2 + ("10.0.0.1",) * 2 + ("10.0.1.1",) * 2
    assert places.devices == (0, 1) * 3
    assert places.racks == ("rack0",) * 4 + ("rack1",) * 2


def test_a_rank_tables_ranks_are_its_own(tmp_path: Path) -> None:
    path = table(tmp_path / "hccl.json", {"10.0.0.1": "", "10.0.0.2": ""})
    document = json.loads(path.read_text(encoding="utf-8"))
    for server, ranks in zip(document["server_list"], (("3", "0"), ("1", "2")), strict=True):
        for device, rank in zip(server["device"], ranks, strict=True):
            device["rank_id"] = rank
    path.write_text(json.dumps(document), encoding="utf-8")
    places = places_of(read_cluster(path), path)
    assert places.servers == ("10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.1")
    assert places.devices == (1, 0, 1, 0) and places.racks == ()


@pytest.mark.parametrize("version", ["1.2", "2.0"])
def test_super_pods_and_second_layers_are_racks(version: str, tmp_path: Path) -> None:
    path = table(tmp_path / "hccl.json", {"10.0.0.1": "7", "10.0.0.2": "8"}, version)
    assert places_of(read_cluster(path), path).racks == ("7", "7", "8", "8")


def test_another_file_gives_racks_to_a_table_without(tmp_path: Path) -> None:
    path = table(tmp_path / "hccl.json", {"10.0.0.1": "", "10.0.1.1": ""})
    hosts = write(tmp_path / "hosts.txt", "10.0.0.1 rack=a\n10.0.1.1 rack=b\n")
    assert places_of(read_cluster(path, hosts), path).racks == ("a", "a", "b", "b")


def test_racks_of_some_servers_alone_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "hccl.json", {"10.0.0.1": "", "10.0.1.1": ""})
    hosts = write(tmp_path / "hosts.txt", "10.0.0.1 rack=a\n10.0.1.1\n")
    with pytest.raises(ClusterError, match=r"server 10\.0\.1\.1 is in no rack, and others are: name the rack of every"):
        places_of(read_cluster(path, hosts), path)


def test_ranks_that_are_not_each_once_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "hccl.json", {"10.0.0.1": "", "10.0.1.1": ""})
    write(path, path.read_text(encoding="utf-8").replace('"rank_id": "3"', '"rank_id": "2"'))
    with pytest.raises(ClusterError, match=r"its ranks are not 0 to 3, each once: `pangu ranktable check "):
        places_of(read_cluster(path), path)


def test_a_hosts_file_does_not_say_the_devices(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"hosts\.txt: give a rank table \(\.json\) or an inventory \(\.yaml\)"):
        read_cluster(write(tmp_path / "hosts.txt", "10.0.0.1\n"))
