"""What `pangu plan` prints: the best layouts, one layout's account, and the answers to "what if?"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pangu_alpha.console import say
from pangu_alpha.errors import ConfigError
from pangu_alpha.planner import report
from pangu_alpha.planner.job import Job, less_and_more, other_chips, other_sizes
from pangu_alpha.planner.peak import stage_peaks
from pangu_alpha.planner.placement import PlacedHardware
from pangu_alpha.planner.search import Found, Result, found_of, single_changes
from pangu_alpha.planner.step import price_recipe
from pangu_alpha.verification.classes import is_executed


def print_result(job: Job, result: Result) -> None:
    """The best layouts, where the time and memory of the first go, and why the others are not.

    Raises:
        ConfigError: there is none.
    """
    print(f"{job}\n")
    refused = "\n".join(report.describe_refused(result, job.memory_bytes))
    if not result.best:
        print(refused)
        verified = ", or leave --verified out" if result.num_not_allowed else ""
        raise ConfigError(
            f"no layout on {job.num_devices:,} devices: see the counts above. Give more devices, another batch or a "
            f"chip with more memory{verified}"
        )
    best = result.best[0]
    print("\n".join(report.describe_layouts(result.best, job)))
    _print_own(job, best)
    print(_executed(result.best))
    print("\nwhere the time of 1 goes, on the stage that computes most")
    print("\n".join(report.describe_time(best.account)))
    print(f"\nmemory of 1 on stage {best.fullest}, the fullest")
    print("\n".join(report.describe_memory(stage_peaks(best.config)[best.fullest])))
    print("\nless memory for more time, the fastest of each")
    print("\n".join(report.describe_front(result)))
    print(f"\nwhy the others are not\n{refused}")


def _print_own(job: Job, best: Found) -> None:
    """The recipe's own layout beside the best one, where it is one of this job."""
    recipe = job.recipe
    if (recipe.parallel.num_devices, recipe.train.batch_size) != (job.num_devices, job.batch_size):
        return
    own = found_of(recipe, job.hardware)
    (line,) = report.describe_layouts([own], job, marks=["="])[1:]
    fits = "" if own.num_bytes <= job.memory_bytes else ", and does not fit"
    times = own.account.seconds / best.account.seconds
    print(f"{line}\n    = the recipe's own layout: {times:.2f} × the best one's time{fits}")


def _executed(found: Sequence[Found]) -> str:
    """Which of the layouts are of a class that is executed here."""
    numbers = [str(number) for number, item in enumerate(found, start=1) if not is_executed(item.config)]
    if not numbers:
        return "    `pangu verify` executes a layout of the class of each"
    return f"    `pangu verify` executes none of the class of {', '.join(numbers)}; --verified leaves them out"


def print_account(job: Job, num_changes: int) -> None:
    """The account of the recipe's own layout, operator by operator, and what one change would give, of each kind."""
    recipe, hardware = job.recipe, job.hardware
    found = found_of(recipe, hardware)
    print(f"{job}\n")
    print("\n".join(report.describe_layouts([found], job, marks=["="])))
    if not is_executed(recipe):
        print("    `pangu verify` executes none of its class")
    print("\nwhere the time goes, on the stage that computes most")
    print("\n".join(report.describe_time(found.account)))
    print(f"\nmemory of stage {found.fullest}, the fullest")
    print("\n".join(report.describe_memory(stage_peaks(recipe)[found.fullest])))
    if found.num_bytes > job.memory_bytes:
        print(f"  does not fit: {(found.num_bytes - job.memory_bytes) / 2**30:.2f} GiB too much")
    print("\noperators of one micro-batch on one device")
    print("\n".join(report.describe_operators(price_recipe(recipe, hardware))))
    changes = single_changes(
        recipe, hardware, lambda item: item.num_bytes <= job.memory_bytes and job.allows(item.config)
    )
    if not changes:
        print("\nno single change gives a layout that fits")
        return
    none = "" if changes[0].account.seconds < found.account.seconds else "; none is faster than this layout"
    print(f"\none change at a time, the best of each kind that fits, the fastest first{none}")
    print("\n".join(report.describe_layouts(changes[:num_changes], job)))


def print_sensitivity(job: Job) -> None:
    """The winners if the chip were another."""
    print("\nthe winner if the chip were another")
    _print_winners(job, other_chips(job))
    print("C: compute and memory of the device, L: links; + 20 % faster, - 20 % slower")
    print("O: weights and gradients travel beside + all computation, - none")


def print_what_if(job: Job) -> None:
    """The winners with half and twice the devices, batch or rate of the links; days are those of the same tokens."""
    but = ", on the devices of --cluster" if isinstance(job.hardware, PlacedHardware) else ""
    print(f"\nthe winner with half or twice of one thing{but}, and the days of as many tokens")
    _print_winners(job, [("as it is", job), *less_and_more(job)])


def _print_winners(job: Job, jobs: Iterable[tuple[str, Job]]) -> None:
    marks, winners = [], []
    for mark, other in jobs:
        found = other.fastest()
        if found is None:
            say(f"{mark}: no layout fits")
            continue
        marks.append(mark)
        winners.append(found)
    print("\n".join(report.describe_layouts(winners, job, marks)))


def print_scaling(job: Job, winners: Sequence[Found]) -> None:
    """The winners on other numbers of devices, with what more devices are worth."""
    print("\nthe same batch on other numbers of devices")
    print(
        "\n".join(report.describe_layouts(winners, job, [f"{item.config.parallel.num_devices:,}" for item in winners]))
    )
    print("\ntime against devices")
    print("\n".join(report.describe_scaling(winners)))


def find_scaling(job: Job) -> list[Found]:
    """The winner on each number of devices on which a layout fits."""
    winners = []
    for other in other_sizes(job):
        if found := other.fastest():
            winners.append(found)
        else:
            say(f"{other.num_devices:,} devices: no layout fits")
    return winners
