"""The devices of this host, as its driver knows them, and those of every host of an MPI job."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from pangu_alpha.cluster.patterns import numbers_of
from pangu_alpha.cluster.rank_tables.rank_table import Device, Server
from pangu_alpha.errors import ClusterError
from pangu_alpha.reading import read_text


def this_server(server_id: str | None, devices: str | None, hccn_conf: Path) -> Server:
    """This host, with the addresses that `hccn_tool` says, or `hccn_conf` where that tool is missing.

    Args:
        server_id: its address in the table; when None, the one from which it reaches other hosts.
        devices: numbers such as 0-3; when None, every /dev/davinci<n>, or else every address of `hccn_conf`.
        hccn_conf: the driver's file of addresses, with lines like `address_0=192.168.100.101`.

    Raises:
        ClusterError: there are no devices here, or one has no address.
    """
    tool = shutil.which("hccn_tool")
    configured = _read_hccn_conf(hccn_conf)
    present = [int(path.name[7:]) for path in Path("/dev").glob("davinci[0-9]*")]
    numbers = numbers_of(devices) if devices is not None else sorted(present or configured)
    if not numbers:
        raise ClusterError(
            f"no NPUs on this host: there is no /dev/davinci0, and no address in {hccn_conf}; install the driver, or "
            "name an inventory or a hosts file with --from"
        )
    found = []
    for number in numbers:
        device_ip = _search(r"ipaddr:\s*(\S+)", tool, "-i", number, "-ip", "-g") if tool else configured.get(number)
        if device_ip is None:
            raise ClusterError(
                f"device {number} of this host has no address in {tool or hccn_conf}; give it one with "
                f"`hccn_tool -i {number} -ip -s address ADDRESS netmask NETMASK`, or choose others with --devices"
            )
        found.append(Device(number, number, device_ip, _super_pod_info("SDID", number)))
    return Server(server_id or _own_address(), tuple(found), _super_pod_info("Super Pod ID", numbers[0]) or "")


def servers_of_mpi(find: Callable[[], Server]) -> list[Server] | None:
    """What `find` gives on every host of this MPI job, for its rank 0; None for the other ranks.

    Raises:
        ClusterError: on rank 0, when `find` failed on a host or two hosts say the same address; or there is no MPI.
    """
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise ClusterError(f"MPI cannot be used: {error}; install mpi4py and an MPI, such as mpich") from error
    answer: Server | str
    try:
        answer = find()
    except ClusterError as error:
        answer = f"{socket.gethostname()}: {error}"
    answers = MPI.COMM_WORLD.gather(answer, root=0)
    if answers is None:
        return None
    failures = [answer for answer in answers if isinstance(answer, str)]
    if failures:
        raise ClusterError("\n".join(dict.fromkeys(failures)))
    servers: dict[str, Server] = {}
    for server in answers:
        if servers.setdefault(server.server_id, server) != server:
            raise ClusterError(
                f"two hosts say that they are {server.server_id}, with different devices; name each with --server-id"
            )
    return list(servers.values())


def _read_hccn_conf(path: Path) -> dict[int, str]:
    try:
        text = read_text(path)
    except FileNotFoundError:
        return {}  # A host whose addresses were never set has no such file.
    except OSError as error:
        raise ClusterError(f"{path} cannot be read: {error.strerror}; name another with --hccn-conf") from error
    except ValueError as error:
        raise ClusterError(f"{path}: {error}; name another with --hccn-conf") from error
    return {int(number): address for number, address in re.findall(r"^address_(\d+)\s*=\s*(\S+)", text, re.MULTILINE)}


def _super_pod_info(field: str, number: int) -> str | None:
    """What `npu-smi` says of a device of a super-pod. An A3 card has two devices; other cards say nothing."""
    tool = shutil.which("npu-smi")
    words = ("info", "-t", "spod-info", "-i", number // 2, "-c", number % 2)
    return _search(rf"{field}\s*:\s*(\d+)", tool, *words) if tool else None


def _search(pattern: str, *command: str | int) -> str | None:
    """The first match of `pattern` in what `command` prints."""
    try:
        words = [str(word) for word in command]
        output = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=60, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClusterError(f"{command[0]} does not run: {error}; repair the driver, or use --from FILE") from error
    match = re.search(pattern, output)
    return match[1] if match else None


def _own_address() -> str:
    """The address from which this host reaches others."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # An address for documentation: nothing is sent to it.
            address = str(probe.getsockname()[0])
        except OSError:
            address = "127.0.0.1"
    if address.startswith("127."):
        raise ClusterError("this host has no address that other hosts can reach; name it with --server-id")
    return address
