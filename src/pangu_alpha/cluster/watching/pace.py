"""How fast a run goes beside what the planner expects of its layout."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from pydantic import ValidationError

from pangu_alpha.cluster.watching.heartbeat import read_heartbeats, read_settings
from pangu_alpha.config import RunConfig
from pangu_alpha.errors import ClusterError, ConfigError
from pangu_alpha.planner.hardware import Hardware
from pangu_alpha.planner.search import Found, found_of
from pangu_alpha.records import read_records
from pangu_alpha.run_folder import METRICS

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
    measured = _measured(output)
    if measured is None:
        return f"pace: {planned}; none is measured yet"
    times = measured / expected.account.seconds
    if times > _AS_PLANNED:
        judged = f"{times:.1f} × slower than planned; the plan's largest parts are {_largest(expected)}"
    elif times < 1 / _AS_PLANNED:
        judged = f"{1 / times:.1f} × faster than planned"
    else:
        judged = "as planned"
    return f"pace: {measured:.3g} s a step, {judged}. {planned}"


def _measured(output: Path) -> float | None:
    """Median of the last steps' seconds; None: there is none."""
    records = read_records(output / METRICS)[-_RECENT:]
    seconds = [record["seconds"] for record in records if isinstance(record.get("seconds"), int | float)]
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
