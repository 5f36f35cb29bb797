"""Everything a preflight finds on one machine."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from pangu_alpha.cluster.preflight.data import check_data
from pangu_alpha.cluster.preflight.devices import check_devices
from pangu_alpha.cluster.preflight.disk import check_disk
from pangu_alpha.cluster.preflight.environment import check_limits, check_variables
from pangu_alpha.cluster.preflight.finding import Finding, bad
from pangu_alpha.cluster.preflight.network import check_ports
from pangu_alpha.cluster.preflight.recipe import check_recipe, recipe_hash
from pangu_alpha.cluster.preflight.software import check_software, versions
from pangu_alpha.cluster.preflight.table import check_rank_table, devices_of
from pangu_alpha.cluster.rank_tables.rank_table import RankTable
from pangu_alpha.command_line import explain
from pangu_alpha.config import RunConfig
from pangu_alpha.reading import parse_json, read_bytes

_T = TypeVar("_T")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Report:
    """What was found, and what must be the same on all machines of a job."""

    host: str
    """The machine's own name."""
    boot: str
    """Differs for any two machines: what Linux calls the id of its last start."""
    findings: list[Finding]
    facts: dict[str, dict[str, str]]
    """Values by name, by family (`versions`, `job`, `devices`)."""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read what `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: the text is no report.
        """
        fields = parse_json(text)
        return cls(
            fields["host"], fields["boot"], [Finding(**finding) for finding in fields["findings"]], fields["facts"]
        )


def examine(
    config: RunConfig, rank_table: Path | None, server: str | None, environment: Mapping[str, str] = os.environ
) -> Report:
    """Look at this machine. Nothing is changed, and nothing is started but `npu-smi`.

    Args:
        config: the job's recipe.
        rank_table: the job's rank table.
        server: this machine's name in the rank table; None: found by its address.
        environment: variables that the job will see.
    """
    failed: list[Finding] = []

    def attempt(what: str, check: Callable[[], _T], otherwise: _T) -> _T:
        """What `check` finds; one that meets a file it may not read is one more finding, and the others go on."""
        try:
            return check()
        except OSError as error:
            found, fix, _ = explain(error)
            failed.append(bad(what, found, fix or "repair it"))
            return otherwise

    none: list[Finding] = []
    no_table: tuple[list[Finding], RankTable | None] = (none, None)
    table_findings, table = attempt("rank table", lambda: check_rank_table(rank_table, config), no_table)
    data_findings, training_data = attempt("data", lambda: check_data(config), (none, "unreadable"))
    expected = None if table is None else devices_of(table, server)
    device_findings, devices = check_devices(config.device, expected)
    findings = [
        *check_software(),
        *check_recipe(config),
        *table_findings,
        *data_findings,
        *attempt("disk", lambda: check_disk(config), none),
        *check_limits(config),
        *attempt("environment", lambda: check_variables(config, environment), none),
        *attempt("ports", lambda: check_ports(config.device, environment), none),
        *device_findings,
        *failed,
    ]
    table_hash = attempt("rank table", lambda: _file_hash(rank_table), "unreadable")
    job = {"recipe": recipe_hash(config), "training data": training_data, "rank table": table_hash}
    facts = {"versions": versions(), "job": job, "devices": devices}
    return Report(socket.gethostname(), _BOOT_ID.read_text().strip(), findings, facts)


def _file_hash(path: Path | None) -> str:
    if path is None or not path.is_file():
        return "none"
    return hashlib.sha256(read_bytes(path)).hexdigest()[:12]
