"""A chip whose links join the devices that a rank table or an inventory says, and not so many consecutive ranks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import InstanceOf

from pangu_alpha.errors import ConfigError
from pangu_alpha.planner.crossings import Units
from pangu_alpha.planner.hardware import Hardware, Link

if TYPE_CHECKING:  # and inside the functions that need it: a plan without a file does not wait for NumPy
    import numpy as np
    from numpy.typing import NDArray

SERVER = "server"
"""The level of links that joins the devices of a server."""
RACKS = ("rack", "super-pod")
"""The level that joins the servers of a rack, by the names that it may have."""


@dataclass(frozen=True)
class Places:
    """Where the device of each rank is."""

    source: str
    """Who says so."""
    servers: tuple[str, ...]
    """The server of each rank."""
    devices: tuple[int, ...]
    """Each one's number on its server."""
    racks: tuple[str, ...] = ()
    """The rack of each rank; none where the source does not say."""


class PlacedHardware(Hardware):
    """A profile, with the units of its levels of links from `places`."""

    places: InstanceOf[Places]
    units: InstanceOf[Units]


def placed(hardware: Hardware, places: Places) -> PlacedHardware:
    """The profile on devices whose places are known.

    The level `server` and the one called `rack` or `super-pod` are those of the places. Levels inside a server go by
    the numbers of its devices; all others by the number of devices that the profile says, in the order of ranks, and
    the last one joins everything.

    Raises:
        ConfigError: no level of the profile is of servers or racks, or its last one is and there are several of them.
    """
    if not any(link.name in (SERVER, *RACKS) for link in hardware.links):
        raise ConfigError(
            f"{places.source} says who shares a server or a rack, and no level of links of {hardware.name} is called "
            f"so: name one of them ({_names(hardware.links)}) {SERVER}, {' or '.join(RACKS)} in its profile"
        )
    given = _given(hardware.links, places)
    last = hardware.links[-1].name
    if len(hardware.links) - 1 in given and len(set(given[len(hardware.links) - 1])) > 1:
        raise ConfigError(
            f"{places.source} has several of what {hardware.name} calls {last}, and {last} is its last level of links: "
            "add one to the profile that joins them"
        )
    units = Units(tuple(_units(hardware.links, given, places)))
    return PlacedHardware(
        **{name: getattr(hardware, name) for name in Hardware.model_fields}, places=places, units=units
    )


def _given(links: Sequence[Link], places: Places) -> dict[int, tuple[str, ...]]:
    """By level, the names of each rank's unit, of levels that the places decide."""
    named = {SERVER: places.servers, **{name: places.racks for name in RACKS if places.racks}}
    return {level: named[link.name] for level, link in enumerate(links) if link.name in named}


def _units(links: Sequence[Link], given: dict[int, tuple[str, ...]], places: Places) -> list[NDArray[np.int64]]:
    import numpy as np

    codes = {level: np.unique(np.array(names), return_inverse=True)[1] for level, names in given.items()}
    ranks = np.arange(len(places.servers))
    found, first = [], ranks
    for level, link in enumerate(links):
        above = min((other for other in codes if other > level), default=None)
        if level in codes:
            units = codes[level]
        elif above is not None:
            number = np.array(places.devices) if links[above].name == SERVER else ranks
            parts = number // link.devices
            units = codes[above] * (parts.max() + 1) + parts
        elif level < len(links) - 1:
            # A unit of the level below goes, whole, where its first rank does.
            units = first // link.devices
        else:
            units = np.zeros_like(ranks)
        _, starts, inverse = np.unique(units, return_index=True, return_inverse=True)
        first = starts[inverse]
        found.append(inverse)
    return found


def describe_links(hardware: Hardware) -> str:
    """Which devices the levels of links join, and who says so, in one line."""
    if not isinstance(hardware, PlacedHardware):
        levels = [f"{link.name} ({link.devices})" for link in hardware.links[:-1]] + [hardware.links[-1].name]
        return f"links: {', '.join(levels)}, of consecutive ranks, from the profile"
    places, given = hardware.places, _given(hardware.links, hardware.places)
    servers = Counter(places.servers)
    words = f"links: {_range(servers)} devices a server, {_number(len(servers), SERVER)}"
    called = [hardware.links[level].name for level in given if hardware.links[level].name in RACKS]
    if places.racks:
        racks = Counter(dict(zip(places.servers, places.racks, strict=True)).values())
        words += f" in {_number(len(racks), *called[:1] or RACKS[:1])} of {_range(racks)}"
    words += f", from {places.source}"
    if places.racks and not called:
        words += "; racks count for nothing: the profile has no level `rack`"
    nearest = min(given, default=-1)
    rest = [link for level, link in enumerate(hardware.links[:-1]) if level not in given and level > nearest]
    return words + (f"; {_names(rest)} from the profile" if rest else "")


def _names(links: Sequence[Link]) -> str:
    return ", ".join(f"{link.name} ({link.devices})" for link in links)


def _range(sizes: Counter[str]) -> str:
    least, most = min(sizes.values()), max(sizes.values())
    return f"{most}" if least == most else f"{least} to {most}"


def _number(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
