"""Valid rank tables of all formats, broken in one place each: `pangu ranktable check` must name every break."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pangu_alpha.cluster.rank_tables.check import check_file
from pangu_alpha.cluster.rank_tables.rank_table import read_rank_table, write_rank_table

Document = dict[str, Any]
GONE = object()
"""The value of what is taken out."""


def _set(document: Any, path: str, value: Any) -> None:
    *parents, last = path.split()
    for key in parents:
        document = document[int(key)] if key.isdigit() else document[key]
    key = int(last) if last.isdigit() else last
    if value is GONE:
        del document[key]
    else:
        document[key] = value


def _keep_devices(document: Document, numbers: list[int]) -> None:
    for s, server in enumerate(document["server_list"]):
        server["device"] = [server["device"][number] for number in numbers]
        for i, entry in enumerate(server["device"]):
            entry["rank_id"] = str(s * len(numbers) + i)


def _swap_names(document: Document) -> None:
    first, second = document["server_list"]
    first["server_id"], second["server_id"] = second["server_id"], first["server_id"]


def _interleave(document: Document) -> None:
    _set(document, "server_list 0 device 7 rank_id", "8")
    _set(document, "server_list 1 device 0 rank_id", "7")


def _drop_super_device_ids(document: Document) -> None:
    for server in document["server_list"]:
        for entry in server["device"]:
            del entry["super_device_id"]


# Where the break is, the value there, what must be said, and about what.
VALUES: dict[str, list[tuple[str, Any, str, str]]] = {
    "1.0": [
        ("version", GONE, "is missing", "version"),
        ("version", "1.1", "'1.1'", "version"),
        ("version", 1.0, "1.0 is none", "version"),
        ("version", "2.0", "mixed formats", "server_list"),
        ("status", GONE, "is missing", "status"),
        ("status", "initializing", "not 'completed'", "status"),
        ("group_list", [], "mixed formats", "group_list"),
        ("super_pod_list", [], "mixed formats", "super_pod_list"),
        ("rank_list", [], "mixed formats", "rank_list"),
        ("server_count", "1", "says 1, and server_list has 2", "server_count"),
        ("server_count", 2, "is the number 2", "server_count"),
        ("server_list", {}, "is wrong", "server_list"),
        ("server_list", [], "no servers", "server_list"),
        ("server_list 1", GONE, "says 2, and server_list has 1", "server_count"),
        ("server_list 1 device", [], "has no devices", "server 10.0.0.2"),
        ("server_list 1 device 7", GONE, "has 7 devices", "server 10.0.0.2"),
        ("server_list 1 server_id", "10.0.0.1", "listed 2 times", "server 10.0.0.1"),
        ("server_list 1 server_id", "10.0.0.1111", "is not an address", "server 10.0.0.1111"),
        ("server_list 1 server_id", "node" * 17, "is wrong", "server_list[1].server_id"),
        ("server_list 0 device 0 rank_id", 0, "is the number 0, and HCCL wants a string", "server_list[0].device[0]"),
        ("server_list 0 device 0 rank_id", "first", "'first' is not a whole number", "device[0].rank_id"),
        ("server_list 0 device 0 rank_id", "-1", "'-1' is not a whole number", "device[0].rank_id"),
        ("server_list 0 device 0 rank_id", GONE, "is missing", "server_list[0].device[0].rank_id"),
        ("server_list 1 device 0 rank_id", "3", "is also that of server 10.0.0.1, device 3", "10.0.0.2, device 0"),
        ("server_list 1 device 7 rank_id", "16", "rank 15 is missing of the 16 ranks, and there is rank 16", "rank_id"),
        ("server_list 0 device 1 device_id", "0", "device_id 0 is there 2 times, as rank 0 and rank 1", "10.0.0.1"),
        ("server_list 0 device 7 device_id", "8", "device 8 is beyond 7", "server 10.0.0.1"),
        ("server_list 0 device 0 device_id", 0, "is the number 0", "server_list[0].device[0].device_id"),
        (
            "server_list 1 device 2 device_ip",
            "192.168.100.101",
            "is also that of server 10.0.0.1",
            "10.0.0.2, device 2",
        ),
        ("server_list 0 device 0 device_ip", "192.168.100.256", "is not an address", "server 10.0.0.1, device 0"),
        ("server_list 0 device 0 device_ip", "npu0", "'npu0' is not an address", "server 10.0.0.1, device 0"),
        ("server_list 0 device 0 device_ip", "0.0.0.0", "is not the address of a device", "10.0.0.1, device 0"),
        ("server_list 0 device 0 device_ip", "127.0.0.1", "is not the address of a device", "10.0.0.1, device 0"),
        ("server_list 0 device 0 device_ip", "", "has no device_ip", "server 10.0.0.1, device 0"),
        ("server_list 0 device 5 device_ip", GONE, "has no device_ip", "server 10.0.0.1, device 5"),
        ("server_list 0 device 0 device_ip", 3232261221, "is the number 3232261221", "device[0].device_ip"),
        ("server_list 0 device 0 device_port", "65536", "'65536' is not a port", "server 10.0.0.1, device 0"),
        ("server_list 0 device 0 super_device_id", "0", "mixed formats: super_device_id", "10.0.0.1, device 0"),
        ("server_list 0 device 0 host_port", [], "[] is a list", "server_list[0].device[0].host_port"),
        ("server_list 0 device 0 host_port", {"a": 1}, "is an object", "server_list[0].device[0].host_port"),
        ("server_list 0 device 0 backup_device_ip", ["x"], "is a list", "device[0].backup_device_ip"),
        ("server_list 0 device 0 device_port", [16666], "is a list", "server_list[0].device[0].device_port"),
        ("server_list 0 device 0 level_list", 5, "mixed formats", "server 10.0.0.1, device 0, level_list"),
        ("server_list 0 device 0 local_id", 0, "mixed formats", "server 10.0.0.1, device 0, local_id"),
        ("server_list 1 host_ip", ["10.0.0.2"], "is a list", "server_list[1].host_ip"),
        ("note", "\ud800", "'\\ud800' is no text", "note"),
        ("note", {"by": ["a", "b\udfffc"]}, "is no text", "note.by[1]"),
        ("note", {"\ud800": 1}, "the name of the field is no text", "note.'\\ud800'"),
        ("server_list 1 device 0 note", "\ud800", "is no text", "server_list[1].device[0].note"),
        ("note", float("nan"), "nan is no number that JSON has", "note"),
        ("note", float("inf"), "inf is no number that JSON has", "note"),
        ("note", json.loads("[" * 300 + "]" * 300), "is nested more than 50 deep", "note"),
        ("server_list", _swap_names, "dictionary order of server_id", "server 10.0.0.2"),
        ("server_list", _interleave, "rank 7 of server 10.0.0.2 is between its ranks 0-6,8; CANN", "server 10.0.0.1"),
        ("server_list", lambda d: _keep_devices(d, [0, 1, 2]), "has 3 devices", "server 10.0.0.1"),
        ("server_list", lambda d: _keep_devices(d, [2, 3, 4, 5]), "devices 2-5 straddle the rings", "10.0.0.1"),
        ("server_list", lambda d: _keep_devices(d, [3, 4]), "devices 3-4 straddle the rings", "10.0.0.1 and 1 more"),
    ],
    "1.2": [
        ("super_pod_list", GONE, "is missing", "super_pod_list"),
        ("super_pod_list 0 note", "\ud800", "is no text", "super_pod_list[0].note"),
        ("super_pod_list 1", GONE, "is in no super-pod", "server node_1"),
        ("super_pod_list 1 server_list 0 server_id", "node_0", "node_0 is in super-pod 0 already", "super-pod 1"),
        ("super_pod_list 1 server_list 0 server_id", "node_7", "node_7 is not in server_list", "super-pod 1"),
        ("super_pod_list 1 super_pod_id", 1, "is the number 1", "super_pod_list[1].super_pod_id"),
        ("server_list 0 device 1 super_device_id", "0", "super_device_id 0 is also that of", "node_0, device 1"),
        ("server_list 1 device 4 super_device_id", GONE, "has no super_device_id", "server node_1, device 4"),
        ("server_list 1 device 4 super_device_id", 4, "is the number 4", "device[4].super_device_id"),
        ("server_list 1 host_ip", "172.16.0.100", "host_ip 172.16.0.100 is that of", "server node_1"),
        ("server_list 1 host_ip", "node_1", "'node_1' is not an address", "server node_1"),
        ("server_list 1 device 15 device_id", "16", "device 16 is beyond 15", "server node_1"),
        ("server_list 1 device 15", GONE, "has 15 devices", "server node_1"),
        ("server_list", lambda d: _keep_devices(d, list(range(12))), "has 12 devices", "server node_0"),
        ("server_list", _drop_super_device_ids, "no device has super_device_id", "super_pod_list"),
        ("server_list", _swap_names, "dictionary order of server_id", "server node_1"),
    ],
    "2.0": [
        ("server_list", [], "mixed formats", "server_list"),
        ("status", "initializing", "not 'completed'", "status"),
        ("rank_count", 8, "says 8, and rank_list has 16", "rank_count"),
        ("rank_count", "16", "is the string '16'", "rank_count"),
        ("rank_list 15", GONE, "says 16, and rank_list has 15", "rank_count"),
        ("rank_list 3 rank_id", 2, "rank 2 is also that of", "device 3"),
        ("rank_list 3 rank_id", 16, "rank 3 is missing of the 16 ranks, and there is rank 16", "rank_id"),
        ("rank_list 3 rank_id", -3, "is wrong", "rank_list[3].rank_id"),
        ("rank_list 3 local_id", 2, "local_id 2 is there 2 times", "server az0-rack0"),
        ("rank_list 3 host_port", {}, "{} is an object", "rank_list[3].host_port"),
        ("rank_list 3 level_list 0 net_type", "\ud800", "is no text", "rank_list[3].level_list[0].net_type"),
        ("rank_list 3 device_port", 0, "device_port 0 is not a port", "server az0-rack0, device 3"),
        ("rank_list 3 level_list", [], "is wrong", "rank_list[3].level_list"),
        ("rank_list 3 level_list", GONE, "is missing", "rank_list[3].level_list"),
        ("rank_list 3 level_list 1 net_layer", 0, "net_layer goes [0, 0, 3]", "rank 3"),
        ("rank_list 3 level_list 1 rank_addr_list 0 addr", "192.168.101.1", "is also that of rank 0", "rank 3"),
        ("rank_list 3 level_list 1 rank_addr_list 0 addr", "192.168.101", "is not an address", "rank 3, layer 1"),
        ("rank_list 3 level_list 0 rank_addr_list 0 addr", "ab", "'ab' is not an EID", "rank 3, layer 0"),
        ("rank_list 3 level_list 1 rank_addr_list 0 addr_type", "IPV6", "is an IPv4 address", "rank 3, layer 1"),
        ("rank_list 3 level_list 1 rank_addr_list 0 addr_type", "MAC", "is wrong", "rank_addr_list[0].addr_type"),
        ("rank_list 3 level_list 1 rank_addr_list 0 ports", [], "has no ports", "rank 3, layer 1"),
    ],
}
BREAKS = [(version, *entry) for version, entries in VALUES.items() for entry in entries]


@pytest.mark.parametrize("version", ["1.0", "1.2", "2.0"])
def test_a_valid_table_has_no_problems(
    version: str, rank_table_documents: dict[str, Document], rank_table_file: Callable[[Document], Path]
) -> None:
    assert check_file(rank_table_file(rank_table_documents[version])) == []


@pytest.mark.parametrize(("version", "path", "value", "what", "where"), BREAKS)
def test_every_break_is_named(
    version: str,
    path: str,
    value: Any,
    what: str,
    where: str,
    rank_table_documents: dict[str, Document],
    rank_table_file: Callable[[Document], Path],
) -> None:
    document = rank_table_documents[version]
    if callable(value):
        value(document)
    else:
        _set(document, path, value)
    problems = check_file(rank_table_file(document))
    named = [problem for problem in problems if what in problem.what and where in problem.where]
    assert named, "\n".join(map(str, problems))
    for problem in problems:
        assert problem.fix
        assert "\n" not in str(problem)


@pytest.mark.parametrize("version", ["1.0", "1.2", "2.0"])
def test_what_is_called_good_can_be_written(
    version: str, rank_table_documents: dict[str, Document], rank_table_file: Callable[[Document], Path], tmp_path: Path
) -> None:
    document = rank_table_documents[version]
    document["note"] = {"by": ["汉朝", "😀", 3.5, None]}
    table = read_rank_table(rank_table_file(document))
    write_rank_table(table, tmp_path / "copy.json")
    assert json.loads((tmp_path / "copy.json").read_text(encoding="utf-8"))["note"] == document["note"]


def test_a_host_ip_of_null_is_none(
    rank_table_documents: dict[str, Document], rank_table_file: Callable[[Document], Path]
) -> None:
    document = rank_table_documents["1.0"]
    for server in document["server_list"]:
        server["host_ip"] = None
    path = rank_table_file(document)
    assert check_file(path) == []
    assert [server.address for server in read_rank_table(path).servers] == ["10.0.0.1", "10.0.0.2"]


def test_one_port_as_a_number_and_as_a_string_is_one_port(
    rank_table_documents: dict[str, Document], rank_table_file: Callable[[Document], Path]
) -> None:
    document = rank_table_documents["1.0"]
    for device, port in ((0, 17000), (1, "17000")):
        document["server_list"][0]["device"][device]["host_port"] = port
    (problem,) = check_file(rank_table_file(document))
    assert problem.what.startswith("host_port 17000 is that of device 0 and device 1")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_whatever_stands_somewhere_it_is_judged_without_a_crash(
    data: st.DataObject, rank_table_documents: dict[str, Document], tmp_path: Path
) -> None:
    document = copy.deepcopy(rank_table_documents[data.draw(st.sampled_from(["1.0", "1.2", "2.0"]))])
    place: Any = document
    for _ in range(data.draw(st.integers(0, 7))):
        keys = list(place) if isinstance(place, dict) else range(len(place))
        inside = [key for key in keys if isinstance(place[key], dict | list) and place[key]]
        if not inside:
            break
        place = place[data.draw(st.sampled_from(inside))]
    names = [*place, "host_port", "backup_device_ip", "note"] if isinstance(place, dict) else list(range(len(place)))
    place[data.draw(st.sampled_from(names))] = data.draw(ANYTHING)
    path = tmp_path / "t.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    problems = check_file(path)
    for problem in problems:
        assert problem.what and problem.where and problem.fix
    if not problems:
        write_rank_table(read_rank_table(path), tmp_path / "copy.json")
