"""Addresses and ports of this machine, found out by binding a socket to them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping

from pangu_alpha.errors import ClusterError
from pangu_alpha.reading import whole_number

_NUM_HCCL_PORTS = 16
_HCCL_PORT = 60000
LAST_PORT = 65535


def hccl_ports(environment: Mapping[str, str]) -> range:
    """The ports that HCCL listens on: 16, from 60000 or HCCL_IF_BASE_PORT on (CANN, environment variables).

    Raises:
        ClusterError: HCCL_IF_BASE_PORT is not a number, or too large.
    """
    text = environment.get("HCCL_IF_BASE_PORT", str(_HCCL_PORT))
    last = LAST_PORT - _NUM_HCCL_PORTS + 1
    port = whole_number(text)
    if port is None or not 1024 <= port <= last:
        raise ClusterError(f"HCCL_IF_BASE_PORT={text} is not a port. Write a number from 1024 to {last}")
    return range(port, port + _NUM_HCCL_PORTS)


def is_here(address: str) -> bool:
    """Whether `address`, a name or a number, is one of this machine's."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(place)  # only an address of this machine can be bound
    except OSError:
        return False
    return True


def is_taken(port: int, address: str = "") -> bool:
    """Whether a process here uses `port` of `address`, by default of any address."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        # A port that an ended job has just left may be listened on again.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def free_port() -> int:
    """A port that nothing on this machine listens on."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port
