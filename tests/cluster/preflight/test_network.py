from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pangu_alpha.cluster.preflight.network import check_ports


@pytest.fixture
def used_port() -> Iterator[int]:
    """The third of sixteen that the system gives to nobody who does not name them, and no test beside this one."""
    for port in range(20002, 32000, 16):
        with socket.socket() as server:
            try:
                server.bind(("127.0.0.1", port))
            except OSError:
                continue
            server.listen()
            yield port
            return


@pytest.fixture
def system(tmp_path: Path) -> Path:
    (tmp_path / "ip_local_port_range").write_text("32768\t60999\n")
    (tmp_path / "ip_local_reserved_ports").write_text("\n")
    return tmp_path


def test_a_port_in_use_is_named(used_port: int, system: Path) -> None:
    (finding,) = check_ports("cpu", {"MS_SCHED_PORT": str(used_port)}, system)
    assert finding.state == "bad"
    assert str(used_port) in finding.found
    assert "MS_SCHED_PORT" in finding.fix
    hccl = check_ports("ascend", {"HCCL_IF_BASE_PORT": str(used_port - 2)}, system)[0]
    assert hccl.state == "bad"
    assert hccl.found == f"{used_port} of {used_port - 2}-{used_port + 13} in use"


def test_free_ports(used_port: int, system: Path) -> None:
    assert [finding.state for finding in check_ports("cpu", {"MS_SCHED_PORT": str(used_port + 1)}, system)] == ["ok"]
    assert [finding.state for finding in check_ports("cpu", {}, system)] == ["skipped"]


@pytest.mark.parametrize(
    ("reserved", "state"),
    [("60000-60015", "ok"), ("8080,59000-60100", "ok"), ("60000-60014", "bad"), ("8080", "bad"), ("", "bad")],
)
def test_ports_of_hccl_must_be_reserved(system: Path, reserved: str, state: str) -> None:
    (system / "ip_local_reserved_ports").write_text(reserved + "\n")
    finding = check_ports("ascend", {}, system)[-1]
    assert finding.state == state
    assert state == "ok" or finding.fix == "sysctl -w net.ipv4.ip_local_reserved_ports=60000-60015"


def test_ports_that_linux_never_hands_out_need_no_reservation(system: Path) -> None:
    assert check_ports("ascend", {"HCCL_IF_BASE_PORT": "20000"}, system)[-1].state == "ok"


def test_what_is_no_port_and_what_a_container_hides(tmp_path: Path) -> None:
    (finding,) = check_ports("cpu", {"MS_SCHED_PORT": "99999"}, tmp_path)
    assert (finding.state, finding.found) == ("bad", "99999: there is no port above 65535")
    (finding,) = check_ports("ascend", {"HCCL_IF_BASE_PORT": "65530"}, tmp_path)
    assert (finding.state, finding.fix) == ("bad", "write a number from 1024 to 65520")
    assert [item.state for item in check_ports("ascend", {"HCCL_IF_BASE_PORT": "20000"}, tmp_path)][1] == "skipped"
