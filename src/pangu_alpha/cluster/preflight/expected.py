"""What the planner expects of the job: how long a step takes, and whether it fits."""

from __future__ import annotations

from pathlib import Path

from pangu_alpha.cluster.preflight.finding import Finding, bad, ok, refused, skipped
from pangu_alpha.cluster.rank_tables.places import places_of, read_cluster
from pangu_alpha.config import RunConfig
from pangu_alpha.errors import ClusterError, ConfigError
from pangu_alpha.planner.hardware import Hardware
from pangu_alpha.planner.memory import ways_to_less_memory
from pangu_alpha.planner.placement import placed
from pangu_alpha.planner.search import Found, found_of


def find_expected(config: RunConfig, hardware: Hardware, rank_table: Path | None) -> Found:
    """A recipe's layout on a chip, on the servers and racks of the job's rank table if there is one.

    Raises:
        ClusterError: the table is wrong, or another job's.
        ConfigError: the layout cannot be, or not on this chip.
    """
    if rank_table is None:
        return found_of(config, hardware)
    places = places_of(read_cluster(rank_table), rank_table)
    if len(places.servers) != config.parallel.num_devices:
        raise ClusterError(f"{rank_table} has {len(places.servers):,} devices for {config.parallel.num_devices:,}")
    return found_of(config, placed(hardware, places))


def check_expected(config: RunConfig, hardware: Hardware, rank_table: Path | None = None) -> Finding:
    """A step's seconds and the memory of the fullest stage's device, on a chip that the user names."""
    try:
        found = find_expected(config, hardware, rank_table)
    except ClusterError as error:
        return skipped("plan", f"the rank table has to be right first: {error}")
    except ConfigError as error:
        return refused("plan", error, "change the recipe")
    used, has = found.num_bytes / 2**30, hardware.memory_bytes / 2**30
    where = f"{config.parallel.num_devices:,} × {hardware.name}"
    if found.num_bytes > hardware.memory_bytes:
        need = f"a device of stage {found.fullest} needs {used:.1f} GiB on {where}, and has {has:.1f} for a program"
        return bad("plan", need, ways_to_less_memory(config))
    links = "" if rank_table is None else f", links as in {rank_table.name}"
    return ok("plan", f"{found.account.seconds:.3g} s a step, {used:.1f} of {has:.1f} GiB, on {where}{links}")
