"""Ports on this machine."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from pangu_alpha.cluster.check import NUM_PORTS
from pangu_alpha.cluster.preflight.finding import Finding, bad, ok, skipped
from pangu_alpha.config import Device

HCCL_PORT = 60000
"""The first port that HCCL listens on, unless HCCL_IF_BASE_PORT gives another (CANN, environment variables)."""
_LAST_PORT = 65535
_SYSTEM = Path("/proc/sys/net/ipv4")


def check_ports(device: Device, environment: Mapping[str, str], system: Path = _SYSTEM) -> list[Finding]:
    """Whether the ports that the job will listen on are free, and kept from being handed out to others.

    Args:
        device: where the recipe runs.
        environment: variables of the job.
        system: where Linux keeps `ip_local_port_range` and `ip_local_reserved_ports`.
    """
    findings = []
    scheduler = environment.get("MS_SCHED_PORT", "")
    if scheduler.isdecimal():
        fix = "end the process that has it (`ss -ltnp`), or set MS_SCHED_PORT to another"
        findings.append(_free("scheduler's port", range(int(scheduler), int(scheduler) + 1), fix))
    if device == "ascend":
        base = environment.get("HCCL_IF_BASE_PORT", "")
        first = int(base) if base.isdecimal() else HCCL_PORT
        ports = range(first, first + NUM_PORTS)
        fix = "end the process that has it (`ss -ltnp`), or set HCCL_IF_BASE_PORT"
        findings += [_free("HCCL's ports", ports, fix), _reserved(ports, system)]
    return findings or [skipped("ports", "the launcher chooses free ones")]


def _free(what: str, ports: range, fix: str) -> Finding:
    shown = _show(ports)
    if ports[-1] > _LAST_PORT:
        return bad(what, f"{shown}: there is no port above {_LAST_PORT}", fix)
    taken = [port for port in ports if _is_taken(port)]
    if taken:
        return bad(what, f"{', '.join(map(str, taken))} of {shown} in use", fix)
    return ok(what, f"{shown} free")


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        # A port that an ended job has just left may be listened on again.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return True
    return False


def _reserved(ports: range, system: Path) -> Finding:
    what = "HCCL's ports reserved"
    try:
        low, high = map(int, (system / "ip_local_port_range").read_text().split())
        reserved = (system / "ip_local_reserved_ports").read_text().strip()
    except OSError:
        return skipped(what, "this container does not show the system's settings")
    kept: set[int] = set()
    for part in reserved.split(","):
        begin, _, end = part.partition("-")
        kept.update(range(int(begin or 0), int(end or begin or -1) + 1))
    open_to_others = [port for port in ports if low <= port <= high and port not in kept]
    if open_to_others:
        found = f"Linux may hand out {open_to_others[0]}-{open_to_others[-1]} to any program"
        fix = f"sysctl -w net.ipv4.ip_local_reserved_ports={_show(ports)}"
        return bad(what, found, fix)
    return ok(what, _show(ports))


def _show(ports: range) -> str:
    return str(ports[0]) if len(ports) == 1 else f"{ports[0]}-{ports[-1]}"
