"""How fast a run goes beside what the planner expects of its layout, or has expected when it was started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import ValidationError

from pangu_alpha.cluster.watching.heartbeat import read_heartbeats, read_settings
from pangu_alpha.cluster.watching.values import is_duration
from pangu_alpha.config import RunConfig
from pangu_alpha.errors import ClusterError, ConfigError
from pangu_alpha.planner.hardware import Hardware
from pangu_alpha.planner.search import Found, found_of
from pangu_alpha.records import Record, last_records
from pangu_alpha.run_folder import METRICS, PLANNED_SECONDS

_RECENT = 20
"""Steps whose median is the run's pace: validation and saving make single ones long."""
_AS_PLANNED = 1.1
"""Times the planned seconds up to which a run is as fast as planned."""


def describe_pace(output: Path, hardware: Hardware) -> str:
    """A sentence with the measured and the planned seconds of a step of the run in `output`.

    Raises:
        ClusterError: the run's settings cannot be read, or are none of a layout that can be planned.
    """
    expected = _expected(output, hardware)
    mesh = expected.config.parallel
    planned = (
        f"{expected.account.seconds:.3g} s a step are planned on {mesh.num_devices:,} × {hardware.name} "
        f"(dp {mesh.dp} × mp {mesh.mp} × pp {mesh.pp})"
    )
    records = _recent(output)
    if isinstance(records, str):
        return f"{records}. {planned}"
    measured = _median(records, "seconds")
    if measured is None:
        return f"pace: {planned}; none is measured yet"
    largest = f"; the plan's largest parts are {_largest(expected)}"
    return f"pace: {measured:.3g} s a step, {_judged(measured / expected.account.seconds, largest)}. {planned}"


def recorded_pace(output: Path) -> str | None:
    """The same of a run whose records say what was expected of it (`pangu train --hardware`); None: they do not."""
    records = _recent(output)
    if isinstance(records, str):
        return records
    measured, planned = (_median(records, name) for name in ("seconds", PLANNED_SECONDS))
    if measured is None or planned is None:
        return None
    return f"pace: {measured:.3g} s a step, {_judged(measured / planned)}. {planned:.3g} s were planned at its start"


def _recent(output: Path) -> list[Record] | str:
    """The run's last records, or why they cannot be read."""
    try:
        return last_records(output / METRICS, _RECENT)
    except OSError as error:
        return f"pace: {output / METRICS} cannot be read: {error.strerror}"


def _judged(times: float, why_slower: str = "") -> str:
    if times > _AS_PLANNED:
        return f"{times:.1f} × slower than planned{why_slower}"
    return f"{1 / times:.1f} × faster than planned" if times < 1 / _AS_PLANNED else "as planned"


def _median(records: Sequence[Record], name: str) -> float | None:
    """Of the records' seconds called `name`; None: there are none."""
    seconds = [float(record[name]) for record in records if is_duration(record.get(name))]
    return median(seconds) if seconds and median(seconds) > 0 else None


def _expected(output: Path, hardware: Hardware) -> Found:
    records = read_heartbeats(output)
    if not records:
        raise ClusterError(f"{output} has no heartbeats: no rank of it has started yet, and so nothing can be planned")
    settings: dict[str, Any] = read_settings(output, next(iter(records.values())).settings)
    try:
        return found_of(RunConfig.model_validate(settings), hardware)
    except (ValidationError, ConfigError) as error:
        raise ClusterError(f"the layout of {output} cannot be planned: {error}") from error


def _largest(expected: Found) -> str:
    parts = sorted(expected.account.parts.items(), key=lambda item: -item[1])[:2]
    return " and ".join(f"{name} ({seconds / expected.account.seconds:.0%})" for name, seconds in parts)
