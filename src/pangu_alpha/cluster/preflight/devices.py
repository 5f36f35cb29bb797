"""The NPUs of this machine, as `npu-smi info` lists them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

from pangu_alpha.cluster.preflight.finding import Finding, bad, ok, skipped
from pangu_alpha.config import DeviceKind

_TIMEOUT = 60.0
"""Seconds that `npu-smi` may take; it hangs when the driver does."""
_VERSION = re.compile(r"npu-smi (\S+)")


@dataclass(frozen=True)
class Npu:
    """One device, or one die of a card with two."""

    device_id: int
    """The n of /dev/davinci<n>."""
    health: str
    """OK, Warning, Alarm, Critical or UNKNOWN."""
    process_ids: tuple[int, ...]
    """Processes that use it now."""


def check_devices(device: DeviceKind, expected: Collection[int] | None) -> tuple[list[Finding], dict[str, str]]:
    """Whether the devices that the job wants here are there, healthy and idle.

    Args:
        device: where the recipe runs.
        expected: device ids of this server in the rank table; None when there is no table, or it has not this server.

    Returns:
        The findings, and the driver's version and the number of NPUs, by name.
    """
    none = {"NPU driver": "none", "number of NPUs": "0"}
    if device == "gpu":
        return [skipped("GPUs", "not looked at: the training says at its start whether MindSpore can use them")], none
    if device != "ascend":
        return [skipped("NPUs", f"the recipe's device is {device}")], none
    if shutil.which("npu-smi") is None:
        if expected is None:
            return [skipped("NPUs", "no npu-smi here: this machine cannot train the recipe itself")], none
        found = f"no npu-smi, but the rank table gives this server {len(expected)} devices"
        return [bad("NPUs", found, "install the Ascend driver, or add its `npu-smi` to PATH")], none
    try:
        words = ["npu-smi", "info"]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        return [bad("NPUs", f"`npu-smi info` failed: {error}", "restart the Ascend driver, or the server")], none
    npus, version = read_npu_smi(done.stdout), _VERSION.search(done.stdout)
    facts = {"NPU driver": version[1] if version else "unknown", "number of NPUs": str(len(npus))}
    return _judge(npus, expected), facts


def read_npu_smi(text: str) -> list[Npu]:
    """The devices in the output of `npu-smi info`.

    A device takes two rows of three cells, [NPU and name | health | …] and [chip | bus | …]; the second cell of the
    latter's first column is the device id on cards with two dies (heading `Phy-ID`), elsewhere the NPU is. Below are
    rows of more cells, [NPU and chip | process id | …].
    """
    rows = [[cell.split() for cell in line.strip("|\r ").split("|")] for line in text.splitlines() if "|" in line]
    has_physical_ids = "Phy-ID" in text
    health: dict[tuple[str, str], tuple[int, str]] = {}
    users: dict[tuple[str, str], list[int]] = {}
    for row, below in pairwise(rows):
        if len(row) == 3 and len(below) == 3 and len(row[0]) == 2 and row[0][0].isdigit() and ":" in "".join(below[1]):
            npu, chip = row[0][0], below[0]
            health[npu, chip[0]] = int(chip[-1] if has_physical_ids else npu), " ".join(row[1])
    for row in rows:
        if len(row) > 3 and len(row[0]) == 2 and "".join(row[1]).isdigit():
            users.setdefault((row[0][0], row[0][1]), []).append(int(row[1][0]))
    return [Npu(device, state, tuple(users.get(place, ()))) for place, (device, state) in health.items()]


def _judge(npus: list[Npu], expected: Collection[int] | None) -> list[Finding]:
    wanted = {npu.device_id for npu in npus} if expected is None else set(expected)
    missing = sorted(wanted - {npu.device_id for npu in npus})
    if missing or not npus:
        found = f"{_list(missing)} of {len(wanted)} devices missing" if missing else "npu-smi lists none"
        return [bad("NPUs", found, "see `npu-smi info` and the driver's log; take the server out of the rank table")]
    findings = []
    sick = [f"{npu.device_id} ({npu.health})" for npu in npus if npu.device_id in wanted and npu.health != "OK"]
    if sick:
        fix = "`npu-smi info -t health -i NPU` says why; reset the device or take the server out of the rank table"
        findings.append(bad("NPU health", _list(sick), fix))
    busy = {process for npu in npus if npu.device_id in wanted for process in npu.process_ids}
    if busy:
        fix = "wait for them, or end them if they are of an earlier job"
        findings.append(bad("NPUs idle", f"used by process {_list(sorted(busy))}", fix))
    return findings or [ok("NPUs", f"{len(wanted)} devices, healthy and idle")]


def _list(items: Collection[object]) -> str:
    return ", ".join(map(str, items))
