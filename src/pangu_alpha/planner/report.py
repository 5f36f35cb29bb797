"""What `pangu plan` prints: layouts beside each other, where the time and the memory of one go, why others are not."""

from __future__ import annotations

from collections.abc import Sequence

from pangu_alpha.console import si
from pangu_alpha.planner.job import Job
from pangu_alpha.planner.operators import operators
from pangu_alpha.planner.peak import StagePeak
from pangu_alpha.planner.pricing import operator_seconds
from pangu_alpha.planner.search import Found, Result
from pangu_alpha.planner.step import Priced, StepAccount


def describe_layouts(found: Sequence[Found], job: Job, marks: Sequence[str] = ()) -> list[str]:
    """A line a layout, numbered unless `marks` says otherwise, with the days (and dollars) of the job's tokens."""
    names = marks or [str(number + 1) for number in range(len(found))]
    width = max([3, *map(len, names)])
    lines = [
        f"{'':>{width}} {'dp':>5} {'mp':>4} {'pp':>4} {'micro':>6} {'chunks':>6} {'remat':>12} {'seq':>4} {'shard':>5}"
        f" {'step':>8} {'tokens/s':>9} {'MFU':>6} {'HFU':>6} {'bubble':>7} {'fullest':>15} {'days':>8}"
        + (f" {'dollars':>8}" if job.price else "")
    ]
    for name, item in zip(names, found, strict=True):
        layout, account = item.layout, item.account
        lines.append(
            f"{name:>{width}} {layout.dp:>5} {layout.mp:>4} {layout.pp:>4} {layout.num_micro_batches:>6} "
            f"{layout.num_chunks:>6} {layout.remat:>12} {'yes' if layout.sequence_parallel else 'no':>4} "
            f"{'yes' if layout.optimizer_sharding else 'no':>5} {_seconds(account.seconds):>8} "
            f"{si(account.tokens_per_second):>9} "
            f"{account.model_utilisation:>6.1%} {account.hardware_utilisation:>6.1%} "
            f"{account.bubble:>7.1%} {_gib(item.num_bytes)} stage {item.fullest:>2} "
            f"{job.days(item):>8.1f}" + (f" {si(job.dollars(item)):>8}" if job.price else "")
        )
    return lines


def describe_scaling(found: Sequence[Found]) -> list[str]:
    """What more devices are worth: each one's rate against the first, and which numbers buy no time.

    Args:
        found: the fastest layout of each number of devices, the fewest first.
    """
    lines, fastest = [], found[0]
    for item in found:
        number = item.config.parallel.num_devices
        rate, first = (one.account.tokens_per_second / one.config.parallel.num_devices for one in (item, found[0]))
        is_slower = item.account.seconds > fastest.account.seconds
        words = f", no faster than {fastest.config.parallel.num_devices:,} devices" if is_slower else ""
        lines.append(
            f"  {number:>6,} devices: {_seconds(item.account.seconds):>8}, {rate:,.1f} tokens/s each, "
            f"{rate / first:.0%} of the first's{words}"
        )
        fastest = fastest if is_slower else item
    return lines


def describe_time(account: StepAccount) -> list[str]:
    """Where a step's seconds go."""
    return [
        f"  {name:<26} {_seconds(seconds):>9} {seconds / account.seconds:>7.1%}"
        for name, seconds in account.parts.items()
    ]


def describe_memory(peak: StagePeak) -> list[str]:
    """What a device of a stage holds at its fullest."""
    return [
        f"  {name:<26} {_gib(size)} {size / peak.num_bytes:>7.1%}" for name, size in peak.bytes_by_part.items() if size
    ]


def describe_refused(result: Result, memory_bytes: int) -> list[str]:
    """Why the other layouts are not: counted, with an example of each reason."""
    lines = [f"{result.num_meshes} meshes, {sum(item.count for item in result.refused.values())} cannot be laid out:"]
    for reason, refused in sorted(result.refused.items(), key=lambda item: -item[1].count):
        lines += [f"  {refused.count:>6,} {reason}", f"         {refused.example}"]
    fit = result.num_layouts - result.num_not_allowed - result.num_too_large
    lines.append(f"{result.num_layouts:,} layouts on the others:")
    if result.num_not_allowed:
        lines.append(f"  {result.num_not_allowed:>6,} are of a class that `pangu verify` does not execute")
    lines.append(f"  {result.num_too_large:>6,} do not fit in {_gib(memory_bytes).strip()}")
    if result.nearest is not None:
        layout, most, stage = result.nearest
        lines.append(
            f"         the nearest: {layout}: stage {stage} needs {(most - memory_bytes) / 2**30:.2f} GiB more"
        )
    lines.append(f"  {fit - len(result.best):>6,} fit and are slower")
    lines.append(f"         {fit - result.num_executed:,} of them even if no stage ever waited")
    return lines


def describe_front(result: Result) -> list[str]:
    """Time against memory, up to twice the time of the fastest."""
    most = 2 * result.best[0].account.seconds
    return [
        f"  {_gib(item.num_bytes)}  {_seconds(item.account.seconds):>8}  {item.layout}"
        for item in result.front
        if item.account.seconds <= most
    ]


def describe_operators(priced: Priced) -> list[str]:
    """Every operator of a micro-batch on one device, with its operations, bytes and seconds."""
    config, hardware = priced.config, priced.hardware
    dtype, some = config.model.compute_dtype, config.parallel.rematerialised_stages
    lines = [f"  {'operator':<40} {'FLOPs':>8} {'bytes':>8} {'forward':>10} {'backward':>10} {'again':>6}"]
    for part, made in operators(config).items():
        lines += [
            f"  {item.name:<40} {si(item.forward_flops):>8} {si(item.forward_bytes):>8} "
            f"{_seconds(operator_seconds(item, 'forward', hardware, dtype)):>10} "
            f"{_seconds(operator_seconds(item, 'backward', hardware, dtype)):>10} "
            f"{'yes' if item.is_recomputed else '':>6}"
            for item in made
        ]
        times = [priced.passes[0][part, direction] for direction in ("forward", "backward")]
        words = " ".join(f"{_seconds(item.communication):>10}" for item in times)
        lines.append(f"  {part + ', collectives':<40} {'':>8} {'':>8} {words}")
    return lines + ([f"  again: on the first {some} of {config.parallel.pp} stages alone"] if some else [])


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:>6.2f} GiB"


def _seconds(seconds: float) -> str:
    if seconds >= 0.1 or seconds == 0:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-4 else f"{seconds * 1e6:.1f} µs"
