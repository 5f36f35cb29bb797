"""The rank table: which device of which server is which rank. HCCL reads it from the JSON file `RANK_TABLE_FILE`.

One model of all formats; `formats` has their JSON. Fields that this package does not use (`host_nic_ip`, `device_port`,
`container_ip`, ...) are kept as they are.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pangu_alpha.cluster.rank_tables.formats import (
    FOREIGN,
    FOREIGN_TO_DEVICES,
    DeviceForm,
    GroupsForm,
    PodForm,
    PodsForm,
    Problem,
    RankForm,
    RanksForm,
    ServerForm,
    ServersForm,
    Version,
    layout,
    read_form,
)
from pangu_alpha.cluster.rank_tables.groups import cards_of, find_group_problems
from pangu_alpha.errors import ClusterError
from pangu_alpha.files import write_text

RING = 4
"""Devices 0-3 and 4-7 of an Atlas training server are two rings of fast links."""


@dataclass(frozen=True)
class Device:
    """One NPU (on A3: one of its two dies)."""

    device_id: int
    """Its number on its server: the n of /dev/davinci<n>."""
    rank_id: int
    device_ip: str | None = None
    """Address of its network card; in format 2.0 the first of its addresses."""
    super_device_id: str | None = None
    """Its number in the super-pod (format 1.2)."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Other fields of its entry, as the file has them."""


@dataclass(frozen=True)
class Server:
    """One host. In format 2.0, which knows no servers: the ranks of one network instance of the innermost layer."""

    server_id: str
    devices: tuple[Device, ...]
    rack: str = ""
    """Who is near: the super-pod in 1.2, the instance of the second layer in 2.0. The file of 1.0 does not say."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Other fields of its entry, as the file has them."""

    @property
    def address(self) -> str:
        """Where to reach the host: its `host_ip` when the table has one, since `server_id` may be a mere name."""
        host_ip = self.extra.get("host_ip")
        return self.server_id if host_ip is None else str(host_ip)


@dataclass(frozen=True)
class RankTable:
    """All servers of a job, in the order of the file."""

    version: Version
    servers: tuple[Server, ...]
    status: str = "completed"
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Other top-level fields, as the file has them."""
    is_grouped: bool = False
    """Whether it was read from a `group_list`. It is written as version 1.0, which says the same."""

    @property
    def num_devices(self) -> int:
        """Devices of the job."""
        return sum(len(server.devices) for server in self.servers)

    @cached_property
    def by_rank(self) -> dict[int, tuple[Server, Device]]:
        """Where each rank is, ranks ascending."""
        pairs = [(server, device) for server in self.servers for device in server.devices]
        return {device.rank_id: (server, device) for server, device in sorted(pairs, key=lambda pair: pair[1].rank_id)}


def numbered(version: Version, servers: Iterable[Server]) -> RankTable:
    """A table of `servers` whose ranks follow their order and, on a server, the order of its devices.

    What a device has from a table of another format, and `version` has no place for, is dropped.
    """
    ranked: list[Server] = []
    rank = 0
    for server in servers:
        devices = []
        for local_id, device in enumerate(server.devices):
            as_before = ("level_list" in device.extra) == (version == "2.0")
            extra = dict(device.extra) if as_before else {}
            if version == "2.0":
                extra = {"level_list": _layers(server, device), **extra, "local_id": local_id}
            in_pod = device.super_device_id if version == "1.2" else None
            devices.append(replace(device, rank_id=rank, super_device_id=in_pod, extra=extra))
            rank += 1
        ranked.append(replace(server, devices=tuple(devices)))
    return RankTable(version, tuple(ranked))


def read_rank_table(path: Path) -> RankTable:
    """The table in `path`, of any format. Only its form is checked; `check.find_problems` looks at its meaning.

    Raises:
        ClusterError: the file is missing, is not JSON, or has not the form of its format.
    """
    table, problems = parse_rank_table(path)
    if table is None or problems:
        command = shlex.join(["pangu", "ranktable", "check", str(path)])
        more = f" ({len(problems) - 1} more: `{command}`)" if len(problems) > 1 else ""
        raise ClusterError(f"{path}: {problems[0]}{more}")
    return table


def parse_rank_table(path: Path) -> tuple[RankTable | None, list[Problem]]:
    """The table in `path`, None when it cannot be understood, and everything that is wrong with its form.

    Raises:
        ClusterError: the file cannot be read.
    """
    form, problems = read_form(path)
    if form is None:
        return None, problems
    if isinstance(form, RanksForm):
        return RankTable(form.version, _servers_of_ranks(form.rank_list), form.status, _extra(form)), problems
    if isinstance(form, GroupsForm):
        problems += find_group_problems(form)
        return RankTable("1.0", _servers_of_groups(form), form.status, is_grouped=True), problems
    racks: dict[str, str] = {}
    if isinstance(form, PodsForm):
        racks, wrong = _racks({server.server_id for server in form.server_list}, form.super_pod_list)
        problems += wrong
    servers = tuple(_server(server, racks.get(server.server_id, "")) for server in form.server_list)
    problems += _mixed(form.server_list)
    return RankTable(form.version, servers, form.status, _extra(form)), problems


def write_rank_table(table: RankTable, path: Path) -> None:
    """Write `table` in its own format, one device a line; the file appears whole or not at all.

    Raises:
        ClusterError: the file cannot be written.
    """
    try:
        write_text(path, layout(to_document(table)) + "\n")
    except OSError as error:
        raise ClusterError(f"{path}: cannot be written: {error.strerror}; choose another place") from error


def to_document(table: RankTable) -> dict[str, Any]:
    """What the JSON file of `table` holds."""
    if table.version == "2.0":
        ranks = [
            {"rank_id": rank, "device_id": device.device_id, **device.extra}
            for rank, (_, device) in table.by_rank.items()
        ]
        head = {"version": table.version, "status": table.status, **table.extra}
        return {**head, "rank_count": len(ranks), "rank_list": ranks}
    servers = [
        {"server_id": server.server_id, **server.extra, "device": [_device_entry(device) for device in server.devices]}
        for server in table.servers
    ]
    document = {"version": table.version, "server_count": str(len(servers)), "server_list": servers}
    pods: dict[str, list[dict[str, str]]] = {}
    for server in table.servers:
        if table.version == "1.2" and server.rack:
            pods.setdefault(server.rack, []).append({"server_id": server.server_id})
    if pods:
        document["super_pod_list"] = [{"super_pod_id": pod, "server_list": members} for pod, members in pods.items()]
    return {**document, "status": table.status, **table.extra}


def _extra(form: ServersForm | PodsForm | RanksForm) -> dict[str, Any]:
    return {key: value for key, value in form.others().items() if key not in FOREIGN[form.version]}


def _server(form: ServerForm, rack: str) -> Server:
    devices = tuple(
        Device(int(entry.device_id), int(entry.rank_id), entry.device_ip, entry.super_device_id, _other_fields(entry))
        for entry in form.device
    )
    return Server(form.server_id, devices, rack, form.others())


def _other_fields(entry: DeviceForm) -> dict[str, Any]:
    return {key: value for key, value in entry.others().items() if key not in FOREIGN_TO_DEVICES}


def _mixed(servers: list[ServerForm]) -> list[Problem]:
    """The fields of devices that only a rank of format 2.0 has."""
    return [
        Problem(
            "mixed formats: it belongs to version 2.0",
            f"server {server.server_id}, device {entry.device_id}, {key}",
            "remove it, or correct the version",
            f"mixed {key}",
        )
        for server in servers
        for entry in server.device
        for key in FOREIGN_TO_DEVICES
        if key in entry.others()
    ]


def _racks(known: set[str], pods: list[PodForm]) -> tuple[dict[str, str], list[Problem]]:
    """The super-pod of each server, and what is wrong with `super_pod_list`."""
    racks: dict[str, str] = {}
    problems = []
    for pod in pods:
        where = f"super_pod_list, super-pod {pod.super_pod_id}"
        for member in (entry.server_id for entry in pod.server_list):
            if member in racks:
                what = f"server {member} is in super-pod {racks[member]} already"
                problems.append(Problem(what, where, "leave it in one of them"))
            elif member not in known:
                problems.append(Problem(f"server {member} is not in server_list", where, "add it there or remove it"))
            racks.setdefault(member, pod.super_pod_id)
    if pods:
        problems += [
            Problem("is in no super-pod", f"server {server_id}", "add it to super_pod_list")
            for server_id in sorted(known - set(racks))
        ]
    return racks, problems


def _servers_of_ranks(ranks: list[RankForm]) -> tuple[Server, ...]:
    members: dict[str, list[Device]] = {}
    racks: dict[str, str] = {}
    for form in ranks:
        levels = form.level_list
        instance = levels[0].net_instance_id
        racks.setdefault(instance, levels[1].net_instance_id if len(levels) > 1 else "")
        addresses = [address.addr for level in levels for address in level.rank_addr_list or ()]
        extra = {"local_id": form.local_id, "level_list": [level.model_dump() for level in levels], **form.others()}
        device = Device(form.device_id, form.rank_id, addresses[0] if addresses else None, None, extra)
        members.setdefault(instance, []).append(device)
    return tuple(Server(instance, tuple(devices), racks[instance]) for instance, devices in members.items())


def _servers_of_groups(form: GroupsForm) -> tuple[Server, ...]:
    members: dict[str, list[Device]] = {}
    for card in cards_of(form):
        extra = {} if card.pod_name is None else {"pod_name": card.pod_name}
        device = Device(card.device_id, card.rank_id, card.device_ip, extra=extra)
        members.setdefault(card.server_id, []).append(device)
    return tuple(Server(server_id, tuple(devices)) for server_id, devices in members.items())


def _device_entry(device: Device) -> dict[str, Any]:
    entry: dict[str, Any] = {"device_id": str(device.device_id)}
    if device.device_ip is not None:
        entry["device_ip"] = device.device_ip
    if device.super_device_id is not None:
        entry["super_device_id"] = device.super_device_id
    return {**entry, "rank_id": str(device.rank_id), **device.extra}


def _layers(server: Server, device: Device) -> list[dict[str, Any]]:
    """The layers of a device that has none of its own: its server, and its rack if that is known."""
    addresses = []
    if device.device_ip is not None:
        addresses = [{"addr_type": "IPV6" if ":" in device.device_ip else "IPV4", "addr": device.device_ip}]
    return [
        {
            "net_layer": layer,
            "net_instance_id": instance,
            "net_type": kind,
            "net_attr": "",
            "rank_addr_list": [{**address, "ports": [f"0/{layer}"]} for address in addresses],
        }
        for layer, (instance, kind) in enumerate([(server.server_id, "TOPO_FILE_DESC"), (server.rack, "CLOS")])
        if instance
    ]
