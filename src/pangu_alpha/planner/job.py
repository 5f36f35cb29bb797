"""A job that a layout is wanted for, and the jobs beside it: other numbers of devices, batches, chips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pangu_alpha.config import RunConfig
from pangu_alpha.console import progress, si
from pangu_alpha.errors import ConfigError
from pangu_alpha.planner.hardware import Hardware, varied
from pangu_alpha.planner.placement import PlacedHardware, describe_links
from pangu_alpha.planner.search import Found, Result, Search
from pangu_alpha.planner.space import meshes

MAX_DEVICES = 16_384
"""Of a search: larger ones would not come to an end."""
DAY = 86_400.0
"""Seconds."""


@dataclass(frozen=True)
class Job:
    """What a layout is wanted for."""

    recipe: RunConfig
    num_devices: int
    hardware: Hardware
    memory_bytes: int
    """Of a device, for the program."""
    batch_size: int
    """Samples of a step."""
    num_tokens: int
    """Of the training: those of the recipe's steps with its own batch."""
    price: float | None = None
    """Dollars of a device and an hour, where they are wanted."""
    allows: Callable[[RunConfig], bool] = lambda _: True
    """Whether a layout may be proposed."""

    @property
    def num_steps(self) -> int:
        """That read all tokens."""
        return -(-self.num_tokens // (self.batch_size * self.recipe.model.seq_length))

    def search(self, num_best: int) -> Result:
        """The `num_best` fastest layouts."""
        search = Search(
            self.recipe, self.num_devices, self.hardware, self.memory_bytes, self.batch_size, num_best, self.allows
        )
        with progress("searching", len(list(meshes(self.num_devices))), "meshes") as advance:
            return search.run(advance)

    def fastest(self) -> Found | None:
        """The fastest layout, if one fits."""
        return next(iter(self.search(1).best), None)

    def days(self, found: Found) -> float:
        """Of all its tokens in a layout."""
        return self.num_tokens / found.account.tokens_per_second / DAY

    def dollars(self, found: Found) -> float:
        """What they cost in a layout, at `price`."""
        return self.days(found) * 24 * found.config.parallel.num_devices * (self.price or 0.0)

    def __str__(self) -> str:
        length = self.recipe.model.seq_length
        memory = f"{self.memory_bytes / 2**30:.1f} GiB of each for the program"
        return (
            f"{self.batch_size} samples of {length} tokens a step = {si(self.batch_size * length)} tokens; "
            f"{self.num_steps:,} steps = {si(self.num_tokens)} tokens\n"
            f"{self.num_devices:,} × {self.hardware.name}, {memory}\n{describe_links(self.hardware)}"
        )


def less_and_more(job: Job) -> Iterator[tuple[str, Job]]:
    """The job with half and with twice of what it has, one thing at a time, and words for each.

    Devices whose places are known are as many as they are.
    """
    for words, factor in (("half", 0.5), ("twice", 2.0)):
        number = int(job.num_devices * factor)
        if 1 <= number <= MAX_DEVICES and not isinstance(job.hardware, PlacedHardware):
            yield f"{words} the devices", replace(job, num_devices=number)
        if number := int(job.batch_size * factor):
            yield f"{words} the batch", replace(job, batch_size=number)
        yield f"links {words} as fast", replace(job, hardware=varied(job.hardware, 1.0, factor))


def other_chips(job: Job) -> Iterator[tuple[str, Job]]:
    """The job on chips 20 % better or worse than its own, and where all or nothing travels beside computation."""
    for mark, compute, links in (("C+", 1.2, 1.0), ("C-", 0.8, 1.0), ("L+", 1.0, 1.2), ("L-", 1.0, 0.8)):
        yield mark, replace(job, hardware=varied(job.hardware, compute, links))
    for mark, overlap in (("O+", 1.0), ("O-", 0.0)):
        efficiency = job.hardware.efficiency.model_copy(update={"overlap": overlap})
        yield mark, replace(job, hardware=job.hardware.model_copy(update={"efficiency": efficiency}))


def other_sizes(job: Job) -> Iterator[Job]:
    """The job on half as many devices, where that is whole, on as many, twice, and so on."""
    number = job.num_devices if job.num_devices % 2 else job.num_devices // 2
    while number <= MAX_DEVICES:
        yield replace(job, num_devices=number)
        number *= 2


def fewest_devices(job: Job, days: float) -> Job:
    """The job on the fewest devices, of 1, 2, 4 and so on, that make its tokens in so many days.

    Raises:
        ConfigError: no number of devices is enough.
    """
    number, tried = 1, list[tuple[float, int]]()
    while number <= MAX_DEVICES:
        found = replace(job, num_devices=number).fastest()
        if found is not None:
            if job.days(found) <= days:
                return replace(job, num_devices=number)
            tried.append((job.days(found), number))
        number *= 2
    fastest = f": {min(tried)[1]:,}, the fastest of 1, 2, 4, …, take {min(tried)[0]:.2g}" if tried else ""
    raise ConfigError(
        f"--days {days:g}: no number of devices up to {MAX_DEVICES:,} makes {si(job.num_tokens)} tokens in so many"
        f"{fastest}. Give more days, a larger batch, or a faster chip"
    )
