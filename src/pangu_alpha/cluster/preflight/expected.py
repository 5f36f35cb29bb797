"""What the planner expects of the job: how long a step takes, and whether it fits."""

from __future__ import annotations

from pangu_alpha.cluster.preflight.finding import Finding, bad, ok, refused
from pangu_alpha.config import RunConfig
from pangu_alpha.errors import ConfigError
from pangu_alpha.planner.hardware import Hardware
from pangu_alpha.planner.memory import ways_to_less_memory
from pangu_alpha.planner.search import found_of


def check_expected(config: RunConfig, hardware: Hardware) -> Finding:
    """A step's seconds and the memory of the fullest stage's device, on a chip that the user names."""
    try:
        found = found_of(config, hardware)
    except ConfigError as error:
        return refused("plan", error, "change the recipe")
    used, has = found.num_bytes / 2**30, hardware.memory_bytes / 2**30
    where = f"{config.parallel.num_devices:,} × {hardware.name}"
    if found.num_bytes > hardware.memory_bytes:
        need = f"a device of stage {found.fullest} needs {used:.1f} GiB on {where}, and has {has:.1f} for a program"
        return bad("plan", need, ways_to_less_memory(config))
    return ok("plan", f"{found.account.seconds:.3g} s a step, {used:.1f} of {has:.1f} GiB, on {where}")
