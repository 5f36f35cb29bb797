"""A chip's profile from measured times: each number is the slope or the beginning of a line through them.

What the planner says of a product of f operations, (f + half) ÷ (peak · products) seconds, is a line over f; what it
says of an AllGather, a line over its bytes (`planner/pricing.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pangu_alpha.config.sections import ComputeDtype
from pangu_alpha.errors import ConfigError
from pangu_alpha.planner.hardware import Hardware, Link


@dataclass(frozen=True)
class Timed:
    """One measurement."""

    amount: float
    """Operations of a product, or bytes."""
    seconds: float
    """The quickest of some."""


@dataclass(frozen=True)
class Measured:
    """What was measured on a chip."""

    dtype: ComputeDtype
    """Of the products."""
    products: Sequence[Timed]
    """Square ones of several sizes."""
    moves: Sequence[Timed]
    """Operators that read and write so many bytes and compute nothing."""
    gathers: Mapping[str, tuple[int, Sequence[Timed]]]
    """By the level of links: members of a group that crosses this level alone, and its AllGathers, in bytes of all."""


def calibrated(hardware: Hardware, measured: Measured, where: str) -> Hardware:
    """A profile with what was measured in place of its own numbers; the rest of it stays.

    Args:
        hardware: the profile, whose peaks stay: what a chip could do is not measured.
        measured: by `benchmarks/plan_calibrate.py`.
        where: for the profile's sources.

    Raises:
        ConfigError: a measured time says nothing, or more was reached than the profile's peak.
    """
    beginning, slope = _line("products", measured.products)
    products = 1 / (slope * hardware.peak(measured.dtype))
    memory = 1 / (_line("memory", measured.moves)[1] * hardware.memory_gb_per_s * 1e9)
    for name, share, peak in (("products", products, "tflops"), ("memory", memory, "memory_gb_per_s")):
        if share > 1:
            raise ConfigError(
                f"{name}: {share:.2f} of the profile's peak was reached, and 1 is all there is: correct {peak} of "
                f"{hardware.name}"
            )
    efficiency = {"products": products, "half_gflop": max(0.0, beginning / slope) / 1e9, "memory": memory}
    links = tuple(_link(link, *measured.gathers.get(link.name, (0, ()))) for link in hardware.links)
    names = ["products, half_gflop, memory", *measured.gathers]
    return hardware.model_copy(
        update={
            "efficiency": hardware.efficiency.model_copy(update=efficiency),
            "links": links,
            "sources": {**hardware.sources, "measured": f"{', '.join(names)}: {where}"},
        }
    )


def _link(link: Link, members: int, gathers: Sequence[Timed]) -> Link:
    """(n - 1) ÷ n of the bytes at the link's rate, and n - 1 latencies."""
    if not gathers:
        return link
    beginning, slope = _line(link.name, gathers)
    rate = (members - 1) / members / slope / 1e9
    return link.model_copy(update={"gb_per_s": rate, "latency_us": max(0.0, beginning / (members - 1)) * 1e6})


def _line(name: str, timed: Sequence[Timed]) -> tuple[float, float]:
    """Beginning and slope of the line that is nearest to the times, each by its share: a small one counts as much.

    Raises:
        ConfigError: there are fewer than two amounts, or more does not take longer.
    """
    weights = [1 / item.seconds**2 for item in timed]
    total = sum(weights)
    amount = sum(weight * item.amount for weight, item in zip(weights, timed, strict=True)) / total
    seconds = sum(weight * item.seconds for weight, item in zip(weights, timed, strict=True)) / total
    spread = sum(weight * (item.amount - amount) ** 2 for weight, item in zip(weights, timed, strict=True))
    if len({item.amount for item in timed}) < 2:
        raise ConfigError(f"{name}: one amount was measured, and a line needs two")
    slope = (
        sum(
            weight * (item.amount - amount) * (item.seconds - seconds)
            for weight, item in zip(weights, timed, strict=True)
        )
        / spread
    )
    if slope <= 0:
        raise ConfigError(f"{name}: more takes no longer: measure larger amounts, on a machine that does nothing else")
    return seconds - slope * amount, slope
