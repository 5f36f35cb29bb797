"""Everything that is wrong with a rank table, found before a job starts: HCCL itself says `ret = 1343225860`, or hangs.

The rules are those of CANN's HCCL user guide ("rank table configuration", "restrictions"), of HCCL's parser where it
says more, and for the order of the ranks those of `check_order`.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pangu_alpha.cluster.patterns import is_host_name, ranges
from pangu_alpha.cluster.ports import hccl_ports, is_here, is_taken
from pangu_alpha.cluster.rank_tables.check_order import find_order_problems
from pangu_alpha.cluster.rank_tables.formats import gathered
from pangu_alpha.cluster.rank_tables.rank_table import RING, Device, Problem, RankTable, Server, parse_rank_table
from pangu_alpha.errors import ClusterError, ConfigError
from pangu_alpha.reading import whole_number

if TYPE_CHECKING:  # A check without a mesh does not wait for numpy.
    from pangu_alpha.topology.mesh import Mesh

_COUNTS = {"1.0": (1, 2, 4, 8), "1.2": (1, 2, 4, 8, 16)}
_REMAKE = "make the table again with `pangu ranktable make`"


def check_file(path: Path, mesh: Mesh | None = None, hosts: Collection[str] | None = None) -> list[Problem]:
    """All problems of the rank table in `path`: of its form and, when it can be read, of its meaning and its ports.

    Raises:
        ClusterError: there is no such file.
    """
    table, problems = parse_rank_table(path)
    if table is None:
        return gathered(problems)
    return gathered(problems + find_problems(table, mesh, hosts) + list(ports_in_use(table)))


def find_problems(table: RankTable, mesh: Mesh | None = None, hosts: Collection[str] | None = None) -> list[Problem]:
    """All problems of `table`; none means that HCCL can use it.

    Args:
        table: of any format.
        mesh: the job's, which the devices must fill.
        hosts: addresses or names of the hosts that the job is started on.
    """
    problems = list(_status(table))
    problems += _servers(table)
    problems += _ranks(table)
    problems += _port_numbers(table)
    problems += _host_ports(table)
    if table.version == "2.0":
        problems += _layers(table)
    else:
        problems += _addresses(table)
        problems += _backups(table)
        problems += _device_counts(table)
        problems += find_order_problems(table)
        problems += _super_devices(table)
    if mesh is not None:
        problems += _mesh(table, mesh)
    if hosts is not None:
        problems += _hosts(table, hosts)
    return gathered(problems)


def _devices(table: RankTable) -> Iterator[tuple[str, Server, Device]]:
    for server in table.servers:
        for device in server.devices:
            yield f"server {server.server_id}, device {device.device_id}", server, device


def _repeated(places: Iterable[tuple[Any, str]]) -> dict[Any, list[str]]:
    """The values that are at more than one place, each with its places."""
    found = defaultdict(list)
    for value, where in places:
        found[value].append(where)
    return {value: where for value, where in found.items() if len(where) > 1}


def _and_others(places: Sequence[str]) -> str:
    return places[0] + (f" and {len(places) - 1} more" if len(places) > 1 else "")


def _status(table: RankTable) -> Iterator[Problem]:
    if table.status != "completed":
        fix = "wait until the scheduler has filled the table, or make it again"
        yield Problem(f"is {table.status!r}, not 'completed'", "status", fix)


def _servers(table: RankTable) -> Iterator[Problem]:
    if not table.servers:
        yield Problem("the table has no servers", "server_list", _REMAKE)
    for name, where in _repeated((server.server_id, f"server {server.server_id}") for server in table.servers).items():
        yield Problem(f"the server is listed {len(where)} times", f"server {name}", "merge its entries into one")
    addresses = [(server.address, f"server {server.server_id}") for server in table.servers]
    for address, where in _repeated(addresses).items():
        if len(set(where)) > 1:
            yield Problem(f"host_ip {address} is that of {where[0]} too", where[1], "correct host_ip")
    for server in table.servers:
        if not server.devices:
            yield Problem("the server has no devices", f"server {server.server_id}", "add them, or remove the server")
        if not is_host_name(server.server_id):
            fix = "write the server's name or address: letters, digits and . : - _"
            yield Problem(f"server_id {server.server_id!r} is no name of a host", f"server {server.server_id!r}", fix)
        for key, address in (("server_id", server.server_id), ("host_ip", server.extra.get("host_ip"))):
            # A server_id may be a name; one of digits and dots is meant as an address. Nobody looks for a lone server.
            is_address = key == "host_ip" or (len(table.servers) > 1 and re.fullmatch(r"[\d.]+", str(address)))
            if address is not None and is_address:
                fault = _address_fault(str(address), loopback=True)
                if fault:
                    yield Problem(
                        f"{key} {address!r} {fault}", f"server {server.server_id}", "write the host's address"
                    )


def _ranks(table: RankTable) -> Iterator[Problem]:
    for rank, where in _repeated((device.rank_id, place) for place, _, device in _devices(table)).items():
        yield Problem(f"rank {rank} is also that of {where[0]}", where[1], f"number the ranks again: {_REMAKE}", "rank")
    ranks = {device.rank_id for _, _, device in _devices(table)}
    missing = set(range(table.num_devices)) - ranks
    if missing:
        beyond = ranks - set(range(table.num_devices))
        what = f"rank {ranges(missing)} is missing of the {table.num_devices} ranks"
        what += f", and there is rank {ranges(beyond)}" if beyond else ""
        yield Problem(what, "rank_id", f"number the ranks again: {_REMAKE}")
    second = table.version == "2.0"
    key = "local_id" if second else "device_id"
    for server in table.servers:
        numbers = [
            (device.extra["local_id"] if second else device.device_id, device.rank_id) for device in server.devices
        ]
        for number, where in _repeated((number, f"rank {rank}") for number, rank in numbers).items():
            what = f"{key} {number} is there {len(where)} times, as {' and '.join(where)}"
            yield Problem(what, f"server {server.server_id}", "give each rank its own device", "device twice")


def _addresses(table: RankTable) -> Iterator[Problem]:
    without = [place for place, _, device in _devices(table) if not device.device_ip]
    # HCCL needs no addresses inside one server or one super-pod, but then nobody may have one.
    near = len(table.servers) == 1 or (table.version == "1.2" and len({server.rack for server in table.servers}) == 1)
    if without and not (near and len(without) == table.num_devices):
        fix = "take it from `hccn_tool -i N -ip -g` or /etc/hccn.conf"
        yield Problem("has no device_ip", _and_others(without), fix)
    for place, _, device in _devices(table):
        fault = _address_fault(device.device_ip) if device.device_ip else None
        if fault:
            fix = "take it from `hccn_tool -i N -ip -g` or /etc/hccn.conf"
            yield Problem(f"device_ip {device.device_ip!r} {fault}", place, fix, f"device_ip {fault}")
    taken = ((device.device_ip, place) for place, _, device in _devices(table) if device.device_ip)
    for address, where in _repeated(taken).items():
        what = f"device_ip {address} is also that of {where[0]}"
        yield Problem(what, where[1], "correct one of them: every device has its own address", "device_ip")


def _host_ports(table: RankTable) -> Iterator[Problem]:
    for server in table.servers:
        ports = [(device.extra.get("host_port"), f"device {device.device_id}") for device in server.devices]
        for port, where in _repeated((str(port), place) for port, place in ports if port is not None).items():
            what = f"host_port {port} is that of {' and '.join(where[:2])}: each of its processes listens on its own"
            yield Problem(what, f"server {server.server_id}", "give each device of a server its own", "host_port")


def _backups(table: RankTable) -> Iterator[Problem]:
    """HCCL takes as backup only the address of the NPU's other die (0 and 1, 2 and 3, ...), on another port."""
    owners = {device.device_ip: (server, device) for _, server, device in _devices(table) if device.device_ip}
    taken = []
    for place, server, device in _devices(table):
        backup = device.extra.get("backup_device_ip")
        if backup is None or backup == "":
            continue
        taken.append((str(backup), place))
        fault = _address_fault(str(backup)) or _backup_fault(server, device, owners.get(str(backup)))
        if fault:
            fix = f"write the address of device {device.device_id ^ 1} of this server"
            kind = " ".join(["backup_device_ip", *fault.split()[:2]])
            yield Problem(f"backup_device_ip {backup!r} {fault}", place, fix, kind)
    for backup, where in _repeated(taken).items():
        what = f"backup_device_ip {backup} is also that of {where[0]}"
        yield Problem(what, where[1], "give each device the address of its NPU's other die", "backup_device_ip twice")


def _backup_fault(server: Server, device: Device, owner: tuple[Server, Device] | None) -> str | None:
    if owner is None:
        return None  # HCCL warns only: the other die may be in no group of this job.
    if owner[1] is device:
        return "is the device's own address"
    if owner[0] is not server or owner[1].device_id != device.device_id ^ 1:
        return f"is that of server {owner[0].server_id}, device {owner[1].device_id}: not of the same NPU"
    port = device.extra.get("backup_device_port")
    if port is not None and str(port) == str(owner[1].extra.get("device_port")):
        return f"has backup_device_port {port}, which device {owner[1].device_id} uses as device_port"
    return None


def _port_numbers(table: RankTable) -> Iterator[Problem]:
    for place, _, device in _devices(table):
        for key in ("device_port", "host_port", "backup_device_port", "device_vnic_port"):
            port = device.extra.get(key)
            if port is not None and not 1 <= (whole_number(str(port)) or 0) <= 65535:
                yield Problem(f"{key} {port!r} is not a port", place, "write a number from 1024 to 65535", key)


def _address_fault(text: str, loopback: bool = False) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "is not an address"
    if address.is_unspecified or address.is_multicast or (address.is_loopback and not loopback):
        return "is not the address of a device"
    return None


def _device_counts(table: RankTable) -> Iterator[Problem]:
    allowed = _COUNTS[table.version]
    words = ", ".join(map(str, allowed[:-1])) + f" or {allowed[-1]}"
    same = defaultdict(list)
    for server in table.servers:
        same[tuple(device.device_id for device in server.devices)].append(f"server {server.server_id}")
    for ids, servers in same.items():
        where = _and_others(servers)
        if ids and len(ids) not in allowed:
            yield Problem(f"has {len(ids)} devices", where, f"HCCL takes {words} of a server: choose with --devices")
        elif table.version == "1.0" and len(ids) in (2, RING) and len({number // RING for number in ids}) > 1:
            fix = "take devices of 0-3 or of 4-7 only, with --devices"
            yield Problem(f"devices {ranges(ids)} straddle the rings 0-3 and 4-7", where, fix)
        beyond = [number for number in ids if number >= allowed[-1]]
        if beyond:
            yield Problem(f"device {ranges(beyond)} is beyond {allowed[-1] - 1}", where, "correct device_id")
    sizes = {len(server.devices) for server in table.servers if server.devices}
    if len(sizes) > 1:
        most = max(sizes, key=[len(server.devices) for server in table.servers].count)
        odd = next(server for server in table.servers if len(server.devices) not in (0, most))
        what = f"has {len(odd.devices)} devices, and most servers have {most}"
        yield Problem(what, f"server {odd.server_id}", "use the same number of devices of every server")


def _super_devices(table: RankTable) -> Iterator[Problem]:
    numbered = [entry for entry in _devices(table) if entry[2].super_device_id is not None]
    if table.version == "1.0" and numbered:
        what = "mixed formats: super_device_id does not belong to version 1.0"
        yield Problem(what, numbered[0][0], "write version 1.2 and super_pod_list, or remove it")
    if table.version != "1.2":
        return
    if numbered and len(numbered) < table.num_devices:
        place = next(place for place, _, device in _devices(table) if device.super_device_id is None)
        yield Problem("has no super_device_id, and others have one", place, "see `npu-smi info -t spod-info`")
    pods = {server.rack for server in table.servers}
    if numbered and not any(pods):
        yield Problem("is missing, and devices have super_device_id", "super_pod_list", f"add it, or {_REMAKE}")
    if not numbered and any(pods):
        what = "mixed formats: super_pod_list, but no device has super_device_id"
        yield Problem(what, "super_pod_list", "`npu-smi info -t spod-info` has them; `make` takes --super-device-id")
    taken = (((server.rack, device.super_device_id), place) for place, server, device in numbered)
    for (pod, number), where in _repeated(taken).items():
        what = f"super_device_id {number} is also that of {where[0]} in super-pod {pod}"
        yield Problem(what, where[1], "see `npu-smi info -t spod-info`", "super_device_id")


def _layers(table: RankTable) -> Iterator[Problem]:
    taken: list[tuple[tuple[str, str], str]] = []
    for _, _, device in _devices(table):
        rank, levels = f"rank {device.rank_id}", device.extra["level_list"]
        layers = [level["net_layer"] for level in levels]
        if layers != sorted(set(layers)):
            yield Problem(
                f"net_layer goes {layers}", rank, "list each layer once, from the innermost outwards", "layers"
            )
        for level in levels:
            for address in level["rank_addr_list"] or ():
                fault = _layer_address_fault(address)
                if fault:
                    place = f"{rank}, layer {level['net_layer']}"
                    kind = f"address {fault.partition(' ')[2]}"  # without the address itself
                    yield Problem(fault, place, "correct the address, its type or its ports", kind)
                taken += {((address["addr"], port), rank) for port in address["ports"]}
    for (address, port), ranks in _repeated(dict.fromkeys(taken)).items():
        what = f"port {port} of {address} is also that of {ranks[0]}"
        yield Problem(what, ranks[1], "correct one of them", "layer port")


def _layer_address_fault(address: dict[str, Any]) -> str | None:
    text, kind = address["addr"], address["addr_type"]
    if not address["ports"]:
        return f"{text} has no ports"
    if kind == "EID":
        return None if re.fullmatch(r"[0-9a-fA-F]{32}", text) else f"{text!r} is not an EID of 32 hexadecimal digits"
    fault = _address_fault(text)
    if fault:
        return f"{text!r} {fault}"
    version = ipaddress.ip_address(text).version
    return None if kind == f"IPV{version}" else f"{text!r} is an IPv{version} address, and addr_type is {kind}"


def _mesh(table: RankTable, mesh: Mesh) -> Iterator[Problem]:
    try:
        mesh.check_devices(table.num_devices)
    except ConfigError as error:
        what, fix = str(error).split(": ", 1)
        yield Problem(what, "mesh", f"{fix}, or use another rank table")


def _hosts(table: RankTable, hosts: Collection[str]) -> Iterator[Problem]:
    for server in table.servers:
        if server.address not in hosts and server.server_id not in hosts:
            where = f"server {server.server_id}"
            yield Problem(
                f"{server.address} is not in the hosts file", where, "add it there, or make a new rank table", "host"
            )


def ports_in_use(table: RankTable) -> Iterator[Problem]:
    """HCCL's ports that something already uses, when this machine is one of the servers of `table`."""
    try:
        ports = hccl_ports(os.environ)
    except ClusterError as error:
        what, fix = str(error).split(". ", 1)
        yield Problem(what, "this host", fix[:1].lower() + fix[1:])
        return
    for address in (server.address for server in table.servers):
        # Names are not asked: a table of hundreds of them would wait for as many answers of the name server.
        if _address_fault(address, loopback=True) is None and is_here(address):
            used = [port for port in ports if is_taken(port, address)]
            if used:
                fix = f"end what `ss -tanp` shows there, or set HCCL_IF_BASE_PORT to {len(ports)} free ports"
                yield Problem(f"port {ranges(used)}, which HCCL needs, is in use", f"this host, {address}", fix)
