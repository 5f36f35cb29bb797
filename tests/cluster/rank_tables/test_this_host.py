"""The driver's tools are stand-ins that print what the real ones print; MPI is real."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pangu_alpha.cluster.rank_tables.rank_table import read_rank_table
from pangu_alpha.cluster.rank_tables.this_host import servers_of_mpi, this_server
from pangu_alpha.errors import ClusterError

HCCN_CONF = "address_0=192.168.100.101\nnetmask_0=255.255.255.0\naddress_1 = 192.168.101.101\nnetdetect_0=1.2.3.4\n"
HCCN_TOOL = """#!/bin/sh
[ "$2" = 6 ] && exit 1
echo "ipaddr:192.168.10$2.7"
echo "netmask:255.255.255.0"
"""
NPU_SMI = """#!/bin/sh
echo "        NPU ID                         : $5"
echo "        SDID                           : 10$5$7"
echo "        Super Pod ID                   : 3"
"""


def _install(folder: Path, monkeypatch: pytest.MonkeyPatch, **programs: str) -> None:
    for name, text in programs.items():
        path = folder / name.replace("_smi", "-smi")
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_addresses_of_hccn_conf(tmp_path: Path) -> None:
    conf = tmp_path / "hccn.conf"
    conf.write_text(HCCN_CONF)
    server = this_server("10.0.0.1", None, conf)
    assert server.server_id == "10.0.0.1"
    assert [(d.device_id, d.device_ip) for d in server.devices] == [(0, "192.168.100.101"), (1, "192.168.101.101")]
    assert [d.device_id for d in this_server("10.0.0.1", "1", conf).devices] == [1]


def test_addresses_of_hccn_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, monkeypatch, hccn_tool=HCCN_TOOL)
    server = this_server("10.0.0.1", "4-5", tmp_path / "none")
    assert [(d.device_id, d.device_ip) for d in server.devices] == [(4, "192.168.104.7"), (5, "192.168.105.7")]
    with pytest.raises(ClusterError, match=r"device 6 of this host has no address in .*hccn_tool -i 6 -ip -s"):
        this_server("10.0.0.1", "4-6", tmp_path / "none")


def test_super_pods_of_npu_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, monkeypatch, hccn_tool=HCCN_TOOL, npu_smi=NPU_SMI)
    server = this_server("10.0.0.1", "0-3", tmp_path / "none")
    # Two devices a card: device 3 is chip 1 of card 1.
    assert [d.super_device_id for d in server.devices] == ["1000", "1001", "1010", "1011"]
    assert server.rack == "3"


def test_a_host_without_npus(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"no NPUs on this host.*name an inventory or a hosts file with --from"):
        this_server("10.0.0.1", None, tmp_path / "none")
    with pytest.raises(ClusterError, match="device 0 of this host has no address"):
        this_server("10.0.0.1", "0-7", tmp_path / "none")


def test_a_tool_that_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, monkeypatch, hccn_tool="#!/no/such/shell\n")
    with pytest.raises(ClusterError, match="hccn_tool does not run"):
        this_server("10.0.0.1", "0", tmp_path / "none")


def _mpirun(folder: Path, *programs: list[str]) -> subprocess.CompletedProcess[str]:
    """One process a list of words, each with its own hccn.conf and address, as hosts have."""
    mpirun = shutil.which("mpirun", path=f"{Path(sys.executable).parent}:/usr/bin:/usr/local/bin")
    if mpirun is None:
        pytest.skip("mpirun is not installed: `pip install mpich` brings one")
    pytest.importorskip("mpi4py")
    command = [mpirun]
    for words in programs:
        start = [sys.executable, "-m", "pangu_alpha.cli.main", "ranktable", "make", "--from", "mpi"]
        command += [*([":"] if len(command) > 1 else []), "-n", "1", *start, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def _host(folder: Path, number: int, output: str = "hccl.json") -> list[str]:
    conf = folder / f"hccn{number}.conf"
    conf.write_text("".join(f"address_{d}=192.168.{100 + d}.{number}\n" for d in range(8)))
    return ["--output", output, "--hccn-conf", conf.name, "--server-id", f"10.0.0.{number}"]


def test_every_host_of_an_mpi_job_reports_its_devices(tmp_path: Path) -> None:
    # The second and third process are on the same host; rank order is not the order of the addresses.
    ended = _mpirun(tmp_path, _host(tmp_path, 3), _host(tmp_path, 1), _host(tmp_path, 1), _host(tmp_path, 2))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "hccl.json: 24 device(s) on 3 server(s), format 1.0\n"
    table = read_rank_table(tmp_path / "hccl.json")
    assert [server.server_id for server in table.servers] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert table.by_rank[23][1].device_ip == "192.168.107.3"


def test_a_host_of_an_mpi_job_that_fails_is_named_and_nothing_hangs(tmp_path: Path) -> None:
    broken = ["--output", "hccl.json", "--hccn-conf", "none.conf", "--server-id", "10.0.0.2"]
    ended = _mpirun(tmp_path, _host(tmp_path, 1), broken)
    assert ended.returncode != 0
    assert "no NPUs on this host" in ended.stderr
    assert not (tmp_path / "hccl.json").exists()


def test_two_hosts_of_an_mpi_job_with_the_same_address(tmp_path: Path) -> None:
    second = _host(tmp_path, 2)
    second[-1] = "10.0.0.1"
    ended = _mpirun(tmp_path, _host(tmp_path, 1), second)
    assert "two hosts say that they are 10.0.0.1" in ended.stderr


def test_mpi_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ClusterError, match="install mpi4py and an MPI"):
        servers_of_mpi(lambda: pytest.fail("not asked without MPI"))
