"""Everything a preflight finds on one machine."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pangu_alpha.cluster.preflight.data import check_data
from pangu_alpha.cluster.preflight.devices import check_devices
from pangu_alpha.cluster.preflight.disk import check_disk
from pangu_alpha.cluster.preflight.environment import check_limits, check_variables
from pangu_alpha.cluster.preflight.finding import Finding
from pangu_alpha.cluster.preflight.network import check_ports
from pangu_alpha.cluster.preflight.recipe import check_recipe, recipe_hash
from pangu_alpha.cluster.preflight.software import check_software, versions
from pangu_alpha.cluster.preflight.table import check_rank_table, devices_of
from pangu_alpha.config import RunConfig

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
        fields = json.loads(text)
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
    table_findings, table = check_rank_table(rank_table, config)
    data_findings, training_data = check_data(config)
    expected = None if table is None else devices_of(table, server)
    device_findings, devices = check_devices(config.device, expected)
    findings = [
        *check_software(),
        *check_recipe(config),
        *table_findings,
        *data_findings,
        *check_disk(config),
        *check_limits(config),
        *check_variables(config, environment, rank_table),
        *check_ports(config.device, environment),
        *device_findings,
    ]
    job = {"recipe": recipe_hash(config), "training data": training_data, "rank table": _file_hash(rank_table)}
    facts = {"versions": versions(), "job": job, "devices": devices}
    return Report(socket.gethostname(), _BOOT_ID.read_text().strip(), findings, facts)


def _file_hash(path: Path | None) -> str:
    if path is None or not path.is_file():
        return "none"
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
