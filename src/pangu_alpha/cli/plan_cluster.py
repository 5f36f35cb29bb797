"""`pangu plan --cluster`: links as the devices of a rank table or inventory lie, and better orders of its servers."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path

from pangu_alpha.cluster.rank_tables.placement import arrange
from pangu_alpha.cluster.rank_tables.places import places_of, read_cluster
from pangu_alpha.cluster.rank_tables.rank_table import RankTable, numbered
from pangu_alpha.config import RunConfig
from pangu_alpha.errors import ClusterError, ConfigError
from pangu_alpha.planner.hardware import Hardware
from pangu_alpha.planner.placement import placed
from pangu_alpha.planner.step import account, price_recipe
from pangu_alpha.topology.mesh import Mesh

_WORTH = 1.005
"""Times the step of another order of the servers, from which on it is spoken of."""


def place(hardware: Hardware, arguments: argparse.Namespace) -> tuple[Hardware, int]:
    """The chip on the devices of the command line's file, and how many these are.

    Raises:
        ConfigError: something else is asked for that goes with another number of devices.
        ClusterError: a file cannot be used.
    """
    path: Path | None = arguments.cluster
    if path is None:
        raise ConfigError(f"--racks {arguments.racks}: says the racks of the servers of --cluster: name that file too")
    places = places_of(read_cluster(path, arguments.racks), path)
    number = len(places.servers)
    if arguments.devices not in (None, number):
        raise ConfigError(
            f"--devices {arguments.devices}, and {path} has {number:,} devices: leave --devices out, or give a file of "
            "as many"
        )
    for option, is_given in (("--days", arguments.days is not None), ("--scaling", arguments.scaling)):
        if is_given:
            raise ConfigError(
                f"{option} asks for other numbers of devices than the {number:,} of --cluster {path}: leave one of "
                "them out"
            )
    return placed(hardware, places), number


def print_better_order(hardware: Hardware, config: RunConfig, path: Path, racks: Path | None) -> None:
    """What a layout's step would take with its servers in another order, where that is less.

    Args:
        hardware: the chip on the devices of the file.
        config: the recipe with the layout.
        path: the rank table or inventory.
        racks: the file with the racks of its servers.
    """
    own = account(price_recipe(config, hardware)).seconds
    orders = {
        words: account(price_recipe(config, placed(hardware, places_of(table, path)))).seconds
        for words, table in _orders(read_cluster(path, racks), Mesh.of(config.parallel), path, racks)
    }
    words = min(orders, key=lambda name: orders[name])
    if own > _WORTH * orders[words]:
        times = f"{own:.3g} s a step as they are in {path.name}, {orders[words]:.3g} s {words}"
        print(f"\nthe order of the servers costs time: {times}")


def _orders(table: RankTable, mesh: Mesh, path: Path, racks: Path | None) -> Iterator[tuple[str, RankTable]]:
    """Other orders of the servers, with words for each: rack by rack, and the one that is made for the mesh."""
    in_order = sorted(table.servers, key=lambda server: min(device.rank_id for device in server.devices))
    seen = list(dict.fromkeys(server.rack for server in in_order))
    by_rack = sorted(in_order, key=lambda server: seen.index(server.rack))
    yield "with those of each rack one after another", numbered(table.version, by_rack)
    command = ["pangu", "ranktable", "make", "--from", str(path), *(["--racks", str(racks)] if racks else [])]
    try:
        made = arrange(table.servers, table.version, mesh, keep_server_ids=False).table
    except ClusterError:
        return  # Servers of unequal sizes, or a mesh that ends inside one: `make` refuses them.
    yield f"as `{shlex.join(command)} --config RECIPE` orders them for this layout's recipe", made
