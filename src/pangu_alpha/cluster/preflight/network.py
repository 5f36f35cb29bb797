"""Ports on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pangu_alpha.cluster.ports import LAST_PORT, hccl_ports, is_taken
from pangu_alpha.cluster.preflight.finding import Finding, bad, ok, refused, skipped
from pangu_alpha.config import DeviceKind
from pangu_alpha.errors import ClusterError
from pangu_alpha.reading import whole_number

_HCCL_FIX = "end the process that has it (`ss -ltnp`), or set HCCL_IF_BASE_PORT"
_SYSTEM = Path("/proc/sys/net/ipv4")


def check_ports(device: DeviceKind, environment: Mapping[str, str], system: Path = _SYSTEM) -> list[Finding]:
    """Whether the ports that the job will listen on are free, and kept from being handed out to others.

    Args:
        device: where the recipe runs.
        environment: variables of the job.
        system: where Linux keeps `ip_local_port_range` and `ip_local_reserved_ports`.
    """
    findings = []
    scheduler = whole_number(environment.get("MS_SCHED_PORT", ""))
    if scheduler is not None:
        fix = "end the process that has it (`ss -ltnp`), or set MS_SCHED_PORT to another"
        findings.append(_free("scheduler's port", range(scheduler, scheduler + 1), fix))
    if device == "ascend":
        findings += _check_hccl_ports(environment, system)
    return findings or [skipped("ports", "the launcher chooses free ones")]


def _check_hccl_ports(environment: Mapping[str, str], system: Path) -> list[Finding]:
    try:
        ports = hccl_ports(environment)
    except ClusterError as error:
        return [refused("HCCL's ports", error, _HCCL_FIX)]
    return [_free("HCCL's ports", ports, _HCCL_FIX), _reserved(ports, system)]


def _free(what: str, ports: range, fix: str) -> Finding:
    shown = _show(ports)
    if ports[-1] > LAST_PORT:
        return bad(what, f"{shown}: there is no port above {LAST_PORT}", fix)
    taken = [port for port in ports if is_taken(port)]
    if taken:
        return bad(what, f"{', '.join(map(str, taken))} of {shown} in use", fix)
    return ok(what, f"{shown} free")


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
