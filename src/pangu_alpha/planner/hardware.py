"""A chip, its memory and the links between chips, read from a YAML profile: a shipped one by name, another by path.

The shipped ones are in `chips/`; each number there names its source in `sources`.
"""

from __future__ import annotations

import difflib
import itertools
from pathlib import Path

from pydantic import Field, model_validator

from pangu_alpha.config.sections import ComputeDtype, Settings
from pangu_alpha.config.validating import read_settings, validated
from pangu_alpha.errors import ConfigError

CHIPS = Path(__file__).resolve().parent / "chips"
LEAST_RATE = 1e-3
"""Of 10¹² operations or 10⁹ bytes a second: less is a mistake in the unit."""


class Link(Settings):
    """One level of links: it joins groups of the level below to groups of `devices`."""

    name: str = Field(min_length=1)
    devices: int = Field(ge=2)
    """Devices that this level and those below it join."""
    gb_per_s: float = Field(ge=LEAST_RATE)
    """10⁹ bytes a second that one device sends over it while it receives as many, as collectives reach them."""
    latency_us: float = Field(ge=0)
    """Microseconds of one step of a collective."""


class Efficiency(Settings):
    """What is reached of the peaks: one set of numbers a chip."""

    products: float = Field(gt=0, le=1)
    """Share of the peak that large matrix products reach."""
    half_gflop: float = Field(ge=0)
    """10⁹ operations at which a product reaches half of that share."""
    memory: float = Field(gt=0, le=1)
    """Share of the memory's bandwidth that operators reach."""
    fused: float = Field(gt=0, le=1)
    """Bytes that elementwise operators move, as a share of what they move one by one: below 1 where they are fused."""
    overlap: float = Field(ge=0, le=1)
    """Share of the computation beside which gradients and weights of other layers can travel."""


class Hardware(Settings):
    """A profile."""

    name: str = Field(min_length=1)
    tflops: dict[ComputeDtype, float] = Field(min_length=1)
    """10¹² operations a second of matrix products, by compute type."""
    memory_gib: float = Field(gt=0)
    """2³⁰ bytes of a device's memory."""
    memory_gb_per_s: float = Field(ge=LEAST_RATE)
    """10⁹ bytes a second of that memory."""
    reserved_gib: float = Field(ge=0)
    """2³⁰ bytes that the driver, the collectives' buffers and the operators' workspaces take."""
    links: tuple[Link, ...] = Field(min_length=1)
    """From the nearest devices to all of them."""
    efficiency: Efficiency
    sources: dict[str, str] = Field(min_length=1)
    """Where each number is from, by what it is."""

    @model_validator(mode="after")
    def _levels_grow(self) -> Hardware:
        sizes = [link.devices for link in self.links]
        for inner, outer in itertools.pairwise(sizes):
            if outer <= inner or outer % inner:
                raise ValueError(
                    f"links: a level of {outer} devices follows one of {inner}: order them from near to far, each a "
                    "multiple of the one before"
                )
        if self.reserved_gib >= self.memory_gib:
            raise ValueError(
                f"reserved_gib({self.reserved_gib:g}) is all of memory_gib({self.memory_gib:g}): nothing is left for a "
                "program"
            )
        if any(not value >= LEAST_RATE for value in self.tflops.values()):
            raise ValueError(f"tflops: a peak is below {LEAST_RATE:g}: give 10¹² operations a second")
        names = [link.name for link in self.links]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"links: two levels are called {twice[0]!r}: a cluster's file tells them apart by name")
        return self

    @property
    def memory_bytes(self) -> int:
        """What a program may use of a device's memory."""
        return int((self.memory_gib - self.reserved_gib) * 2**30)

    def peak(self, dtype: ComputeDtype) -> float:
        """Operations a second of products of `dtype`.

        Raises:
            ConfigError: the chip has no such products.
        """
        if dtype not in self.tflops:
            raise ConfigError(
                f"{self.name} has no products of {dtype}: its profile gives {', '.join(sorted(self.tflops))}; set "
                "model.compute_dtype to one of them"
            )
        return self.tflops[dtype] * 1e12


def varied(hardware: Hardware, compute: float, links: float) -> Hardware:
    """The same chip with `compute` times the rate of operations and memory, and `links` times that of its links."""
    return hardware.model_copy(
        update={
            "tflops": {dtype: compute * peak for dtype, peak in hardware.tflops.items()},
            "memory_gb_per_s": compute * hardware.memory_gb_per_s,
            "links": tuple(link.model_copy(update={"gb_per_s": links * link.gb_per_s}) for link in hardware.links),
        }
    )


def list_hardware() -> list[str]:
    """Names of the shipped profiles, sorted."""
    return sorted(path.stem for path in CHIPS.glob("*.yaml"))


def load_hardware(name_or_path: str) -> Hardware:
    """The shipped profile of that name (`ascend_910a`, or `910a` for short), or that of a YAML file.

    Raises:
        ConfigError: there is none, it is no valid YAML, has an unknown or missing key, or a wrong value.
    """
    path = _find(name_or_path)
    return validated(Hardware, read_settings(path, "memory_gib: 32"), path)


def _find(name_or_path: str) -> Path:
    if name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path:
        return Path(name_or_path)
    names, asked = list_hardware(), name_or_path.lower()
    for name in (asked, f"ascend_{asked}"):
        if name in names:
            return CHIPS / f"{name}.yaml"
    close = difflib.get_close_matches(asked, [*names, *(name.removeprefix("ascend_") for name in names)], 1)
    hint = f": did you mean {close[0]}?" if close else "."
    raise ConfigError(f"no chip {name_or_path!r}{hint} Shipped: {', '.join(names)}; or give the path of a profile")
