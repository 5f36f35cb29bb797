from __future__ import annotations

import socket

import pytest

from pangu_alpha.cluster.ports import free_port, hccl_ports, is_here, is_taken
from pangu_alpha.errors import ClusterError


def test_addresses_of_this_machine_and_of_others() -> None:
    assert all(is_here(address) for address in ("127.0.0.1", "127.0.0.2", "localhost", socket.gethostname()))
    assert not is_here("192.0.2.7")


def test_a_port_is_taken_while_somebody_listens() -> None:
    port = free_port()
    assert not is_taken(port)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        assert is_taken(port) and is_taken(port, "127.0.0.1")
        assert not is_taken(port, "127.0.0.2")
    assert not is_taken(port)


def test_the_ports_of_hccl() -> None:
    assert hccl_ports({}) == range(60000, 60016)
    assert hccl_ports({"HCCL_IF_BASE_PORT": "65520"})[-1] == 65535
    for text in ("65521", "80", "", "sixty"):
        with pytest.raises(ClusterError, match=f"HCCL_IF_BASE_PORT={text} is not a port"):
            hccl_ports({"HCCL_IF_BASE_PORT": text})
