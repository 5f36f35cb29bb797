"""Which servers and devices there are, from a file. An inventory is a list of servers whose ranks mean nothing yet.

A YAML inventory names the servers of each rack and how the addresses of the devices follow from them, or lists them:

    devices: 0-7
    device_ip: 192.{100 + device % 4}.{server // 100}.{1 + server % 100 * 2 + device // 4}
    racks:
      rack0: 10.0.0.[1-16]
      rack1: [10.0.1.1, 10.0.1.2]
      rack2: {10.0.2.1: [192.168.1.1, 192.168.1.2, ...]}

A hosts file has one server a line, `ADDRESS [rack=NAME]`, brackets allowed; other words of a line are ignored, so that
the host file of `mpirun` will do. In expressions, `server` is the number of the server in the inventory, `device` that
of the device, and `a`, `b`, `c`, `d` are the parts of the server's address.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pangu_alpha.cluster.patterns import MAX_NAMES, check_host_name, expand, fill, numbers_of
from pangu_alpha.cluster.rank_tables.rank_table import Device, Server, read_rank_table
from pangu_alpha.errors import ClusterError
from pangu_alpha.reading import read_text, whole_number
from pangu_alpha.reading.strict_yaml import MAX_BYTES, parse_yaml


class Devices(BaseModel):
    """How the devices of a server follow from the server."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, use_attribute_docstrings=True)

    devices: str = "0-7"
    """Their numbers, on every server, such as 0-7 or 0,1."""
    device_ip: str | None = None
    """The address of a device, with expressions in braces."""
    super_device_id: str | None = None
    """The number of a device in its super-pod (format 1.2), with expressions in braces."""


class _Inventory(Devices):
    racks: dict[str, str | list[str] | dict[str, list[str]]]


_MAX_DEVICES = 8 * MAX_NAMES
"""Of an inventory."""


@dataclass(frozen=True)
class _Host:
    server_id: str
    rack: str
    device_ips: list[str] | None = None


def read_inventory(path: Path, devices: Devices) -> list[Server]:
    """The servers of a YAML inventory (.yaml, .yml), a rank table (.json) or a hosts file (any other ending).

    Args:
        path: the file.
        devices: those of each server of a hosts file, which does not say.

    Raises:
        ClusterError: the file is missing or cannot be understood.
    """
    if path.suffix == ".json":
        return list(read_rank_table(path).servers)
    if path.suffix in (".yaml", ".yml"):
        return _read_yaml(path)
    if devices.device_ip is None:
        raise ClusterError(
            f"{path}: a hosts file does not say which addresses the devices have; give the pattern that they follow, "
            "for example --device-ip '192.168.{100 + device % 4}.{d}'"
        )
    return _servers([_Host(host, rack) for host, rack in read_hosts(path).items()], devices, path)


def read_hosts(path: Path) -> dict[str, str]:
    """The rack of each host of a hosts file, "" where the file does not say, in the order of the file.

    Raises:
        ClusterError: the file is missing, empty, or names a host twice.
    """
    hosts: dict[str, str] = {}
    for number, line in enumerate(_read_text(path).splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        rack = next((word.removeprefix("rack=") for word in words[1:] if word.startswith("rack=")), "")
        try:
            names = expand(words[0])
        except ClusterError as error:
            raise ClusterError(f"{path}, line {number}: {error}") from error
        for host in names:
            if host in hosts:
                raise ClusterError(f"{path}, line {number}: host {host} is there already; remove one of the two")
            hosts[host] = rack
    if not hosts:
        raise ClusterError(f"{path}: no hosts in it; write one address a line")
    return hosts


def read_racks(path: Path) -> dict[str, str]:
    """The rack of each host, "" when unknown, of a hosts file or a YAML inventory.

    Raises:
        ClusterError: the file is missing or cannot be understood.
    """
    if path.suffix in (".yaml", ".yml"):
        return {server.server_id: server.rack for server in _read_yaml(path)}
    return read_hosts(path)


def with_racks(servers: Iterable[Server], racks: dict[str, str]) -> tuple[Server, ...]:
    """`servers` with the racks of their addresses or ids; a server that is not in `racks` keeps its own."""
    return tuple(
        replace(server, rack=racks.get(server.address, racks.get(server.server_id, server.rack))) for server in servers
    )


def choose_devices(servers: Iterable[Server], numbers: Iterable[int]) -> list[Server]:
    """`servers` with only the devices `numbers`.

    Raises:
        ClusterError: a server lacks one of them.
    """
    wanted = set(numbers)
    chosen = []
    for server in servers:
        devices = tuple(device for device in server.devices if device.device_id in wanted)
        missing = wanted - {device.device_id for device in devices}
        if missing:
            raise ClusterError(f"server {server.server_id} has no device {min(missing)}; choose others with --devices")
        chosen.append(replace(server, devices=devices))
    return chosen


def _read_yaml(path: Path) -> list[Server]:
    try:
        document = parse_yaml(_read_text(path))
    except ValueError as error:
        raise ClusterError(f"{path} cannot be read as YAML: {error}") from error
    try:
        inventory = _Inventory.model_validate(document)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"]) or "the file"
        raise ClusterError(
            f"{path}: {where}: {detail['msg'][0].lower()}{detail['msg'][1:]}; an inventory has `racks: {{NAME: "
            "SERVERS}` and, unless these list addresses, `devices` and `device_ip`"
        ) from error
    try:
        hosts = [host for rack, members in inventory.racks.items() for host in _hosts_of(rack, members)]
    except ClusterError as error:
        raise ClusterError(f"{path}: {error}") from error
    if not hosts:
        raise ClusterError(f"{path}: no servers in it; write `racks: {{rack0: 10.0.0.[1-16]}}`")
    return _servers(hosts, inventory, path)


def _hosts_of(rack: str, members: str | list[str] | dict[str, list[str]]) -> Iterator[_Host]:
    if isinstance(members, dict):
        for server_id, device_ips in members.items():
            check_host_name(server_id)
            yield _Host(server_id, rack, device_ips)
    else:
        for pattern in [members] if isinstance(members, str) else members:
            yield from (_Host(server_id, rack) for server_id in expand(pattern))


def _servers(hosts: list[_Host], shared: Devices, path: Path) -> list[Server]:
    numbers = numbers_of(shared.devices)
    if len(hosts) * len(numbers) > _MAX_DEVICES:
        raise ClusterError(
            f"{path}: {len(hosts):,} servers × {len(numbers):,} devices are more than {_MAX_DEVICES:,}: correct the "
            "patterns of the servers or `devices`"
        )
    servers = []
    for index, host in enumerate(hosts):
        if host.device_ips is not None and len(host.device_ips) != len(numbers):
            raise ClusterError(
                f"{path}: server {host.server_id} has {len(host.device_ips)} addresses for the {len(numbers)} devices "
                f"{shared.devices}; list one address a device, or correct `devices`"
            )
        octets = [whole_number(part) for part in host.server_id.split(".")]
        names = {name: octet for name, octet in zip("abcd", octets, strict=False) if octet is not None}
        if len(octets) != 4 or len(names) < 4:
            names = {}
        devices = []
        for i, number in enumerate(numbers):
            names |= {"server": index, "device": number}
            device_ip = host.device_ips[i] if host.device_ips else _filled(shared.device_ip, names)
            devices.append(Device(number, i, device_ip, _filled(shared.super_device_id, names)))
        servers.append(Server(host.server_id, tuple(devices), host.rack))
    return servers


def _filled(pattern: str | None, names: dict[str, int]) -> str | None:
    return None if pattern is None else fill(pattern, names)


def _read_text(path: Path) -> str:
    try:
        return read_text(path, MAX_BYTES)
    except OSError as error:
        raise ClusterError(f"{path}: {error.strerror}; name an inventory that is there") from error
    except ValueError as error:
        raise ClusterError(f"{path}: {error}; write the inventory in UTF-8") from error
