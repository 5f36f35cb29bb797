"""Which rank failed first, and why, from what all of them left: exit codes, records and logs."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from pangu_alpha.cluster.exits import Exit, read_exits
from pangu_alpha.cluster.heartbeat import Heartbeat, read_heartbeats, read_settings
from pangu_alpha.cluster.known_failures import SETTINGS, SIGNALS, SYSTEM_KILL, find_failure
from pangu_alpha.cluster.patterns import ranges
from pangu_alpha.cluster.status import is_silent, last_words, one_line, where
from pangu_alpha.console import duration
from pangu_alpha.errors import ClusterError

_NUM_BYTES = 1 << 18
"""Of a log that are read, from its end."""
_MAX_LINE = 400
"""Characters of evidence that are shown."""
_SAME_MOMENT = 60.0
"""Seconds that the kernel's and the launcher's notes of one death may differ."""


class Weight(IntEnum):
    """How likely a failure is the first cause: the lower the likelier, whatever the clocks say."""

    CAUSE = 0
    """A known cause in the process itself."""
    UNKNOWN = 1
    """It failed and nobody knows the message."""
    SILENT = 2
    """It was heard of no more; launchers end the other ranks after a failure, which looks the same."""
    CONSEQUENCE = 3
    """It lost another rank."""


@dataclass(frozen=True)
class Failure:
    """What one process died of."""

    name: str
    """`rank 3` or `scheduler`."""
    weight: Weight
    time: float
    """Seconds since 1970."""
    how: str
    """How and where it ended."""
    cause: str
    fix: str
    evidence: str
    """The words that tell, and the file they are in."""


@dataclass(frozen=True)
class Traces:
    """What one process left."""

    name: str
    log: Path
    text: str
    """The end of its log."""
    record: Heartbeat | None
    end: Exit | None

    @property
    def is_dead(self) -> bool:
        """Whether it is known to have failed."""
        return (self.end is not None and not self.end.is_good) or (
            self.record is not None and self.record.phase == "failed"
        )

    @property
    def has_ended_well(self) -> bool:
        """Whether it is known to have come to its end."""
        return not self.is_dead and (self.end is not None or (self.record is not None and self.record.is_over))


@dataclass(frozen=True)
class Diagnosis:
    """What happened to a job."""

    failures: tuple[Failure, ...]
    """First cause first; none when nothing has failed."""
    others: Mapping[str, tuple[int, ...]]
    """What the ranks said last that have not failed, and which ranks."""
    settings: Mapping[int, str]
    """What is different in the settings of ranks that do not have those of most ranks."""


def diagnose(output: Path, attempt: int | None = None) -> Diagnosis:
    """Find out what happened to the run whose directory is `output`.

    Args:
        attempt: an earlier attempt, of which logs and exit codes are kept; None for the newest.

    Raises:
        ClusterError: `output` is not the directory of a run that has started, or there is no such attempt.
    """
    logs = output / "logs" if attempt is None else output / "logs" / f"attempt_{attempt}"
    records = read_heartbeats(output) if attempt is None else {}
    if not records and not logs.is_dir():
        raise ClusterError(f"{logs} does not exist: give the output directory of a run, and an attempt that it had")
    odd = settings_differences(output, records)
    failures, others = [], defaultdict(list)
    for traces in _traces(logs, records):
        failure = _examine(traces, odd, time.time())
        if failure is not None:
            failures.append(failure)
        elif traces.record is not None:
            others[last_words(traces.record)].append(traces.record.rank)
    failures.sort(key=lambda failure: (failure.weight, failure.time, failure.name))
    return Diagnosis(tuple(failures), {words: tuple(ranks) for words, ranks in others.items()}, odd)


def describe(diagnosis: Diagnosis) -> str:
    """A job's failures in words: the first one, what to do about it, who followed, and what the others did."""
    first = diagnosis.failures[0]
    lines = [
        f"{first.name} failed first, at {time.strftime('%H:%M:%S', time.localtime(first.time))}: {first.how}",
        f"  why    {first.cause}",
        f"  do     {first.fix}",
    ]
    if first.evidence:
        lines.append(f"  seen   {first.evidence}")
    followers: dict[str, list[str]] = defaultdict(list)
    for failure in diagnosis.failures[1:]:
        followers[failure.cause].append(failure.name)
    lines += [f"then     {_names(names)}: {cause}" for cause, names in followers.items()]
    lines += [f"others   rank {ranges(ranks)}, said last: {words}" for words, ranks in diagnosis.others.items()]
    if first.weight == Weight.CONSEQUENCE and diagnosis.others:
        lines.append("look     at those others first: all that failed were waiting for another rank")
    by_change: dict[str, list[int]] = defaultdict(list)
    for rank, change in diagnosis.settings.items():
        by_change[change].append(rank)
    lines += [
        f"settings rank {ranges(ranks)}: {change}" for change, ranks in by_change.items() if change != first.cause
    ]
    return "\n".join(lines)


def settings_differences(output: Path, records: Mapping[int, Heartbeat]) -> dict[int, str]:
    """What is different in the settings of each rank that does not have those of most ranks."""
    ranks_of: dict[str, list[int]] = defaultdict(list)
    for rank, record in records.items():
        ranks_of[record.settings].append(rank)
    if len(ranks_of) < 2:
        return {}
    usual = Counter({name: len(ranks) for name, ranks in ranks_of.items()}).most_common(1)[0][0]
    expected = dict(_leaves(read_settings(output, usual)))
    differences = {}
    for name, ranks in ranks_of.items():
        found = dict(_leaves(read_settings(output, name)))
        changes = [
            f"{key} is {found.get(key, 'not set')}, not {expected.get(key, 'set')}"
            for key in sorted({*found, *expected})
            if found.get(key) != expected.get(key)
        ]
        if changes:
            differences.update(dict.fromkeys(ranks, f"{'; '.join(changes)} as on rank {ranges(ranks_of[usual])}"))
    return differences


def _leaves(settings: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested settings with its dotted name."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield from _leaves(value, f"{name}.{key}" if name else key)
    else:
        yield name, settings


def _traces(logs: Path, records: Mapping[int, Heartbeat]) -> Iterator[Traces]:
    exits = read_exits(logs, records)
    names = {path.stem.replace("_", " ") for path in (*logs.glob("rank_*.log"), *logs.glob("scheduler.log"))}
    for name in sorted({*names, *exits, *(f"rank {rank}" for rank in records)}):
        log = logs / f"{name.replace(' ', '_')}.log"
        record = records.get(int(name.removeprefix("rank "))) if name.startswith("rank ") else None
        yield Traces(name, log, _end_of(log), record, exits.get(name))


def _end_of(log: Path) -> str:
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _NUM_BYTES))
        return file.read().decode(errors="replace")


def _examine(traces: Traces, odd: Mapping[int, str], now: float) -> Failure | None:
    """What `traces` say about a failure; None when there was none."""
    record = traces.record
    silent = record is not None and is_silent(record, now)
    if traces.has_ended_well or not (traces.is_dead or silent or record is None):
        return None

    def failure(weight: Weight, cause: str, fix: str, evidence: str = "") -> Failure:
        return Failure(traces.name, weight, _moment(traces), _how(traces, now), cause, fix, evidence)

    if memory := _system_kill(traces):
        return failure(Weight.CAUSE, SYSTEM_KILL.cause, SYSTEM_KILL.fix, f"kernel log: {memory}")
    source: Path | str = traces.log
    finding = find_failure(traces.text)
    if finding is None and record is not None:
        source, finding = "its record", find_failure(record.error)
    died_of = SIGNALS.get((traces.end.signal if traces.end else None) or "")
    if finding is not None and not (died_of and finding.failure.is_consequence):
        evidence, known = f"{source}: {finding.line[:_MAX_LINE]}", finding.failure
        if known is SETTINGS:
            mine = odd.get(record.rank) if record else None
            return failure(Weight.CAUSE if mine else Weight.CONSEQUENCE, mine or finding.cause, known.fix, evidence)
        return failure(Weight.CONSEQUENCE if known.is_consequence else Weight.CAUSE, finding.cause, known.fix, evidence)
    if died_of:
        return failure(Weight.CAUSE, *died_of)
    if traces.is_dead:
        words = one_line(record.error) if record and record.error else _last_line(traces.text)
        return failure(
            Weight.UNKNOWN, words or "it left no message", f"read {traces.log}; this message is not a known one"
        )
    if silent:
        return failure(
            Weight.SILENT,
            "it was heard of no more: its process or its host is gone, or the launcher ended it with the others",
            "look for the process on that host, and at the host itself (`uptime`, `dmesg`)",
        )
    return None


def _moment(traces: Traces) -> float:
    """When it failed, as well as its traces tell."""
    times = [traces.end.time] if traces.end else []
    if traces.record is not None:
        times.append(traces.record.time)
    return min(times) if times else traces.log.stat().st_mtime


def _how(traces: Traces, now: float) -> str:
    record, end = traces.record, traces.end
    how = str(end) if end else "" if traces.is_dead or record is None else f"silent for {duration(now - record.time)}"
    if record is None:
        return how or "see its log"
    step = "before its first step" if not record.step else f"after step {record.step}"
    said = step if record.phase in ("failed", "training") else f"{step}, while {last_words(record)}"
    return ", ".join(word for word in (how, said, where([record])) if word)


def _system_kill(traces: Traces) -> str:
    """The line of this host's kernel log that says that the process was killed for memory, if there is one."""
    record, end = traces.record, traces.end
    if record is None or end is None or end.signal != "SIGKILL" or record.host != socket.gethostname():
        return ""
    try:
        lines = subprocess.run(["dmesg"], capture_output=True, text=True, errors="replace", check=False).stdout
    except OSError:  # not installed
        return ""
    started = time.time() - time.monotonic()
    for match in re.finditer(rf"^\[ *([\d.]+)\] (.*Killed process {record.pid} .*)$", lines, re.MULTILINE):
        if abs(started + float(match[1]) - end.time) < _SAME_MOMENT:
            return match[2]
    return ""


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("[")]
    return lines[-1][:_MAX_LINE] if lines else ""


def _names(names: Sequence[str]) -> str:
    numbers = [int(name.removeprefix("rank ")) for name in names if name.startswith("rank ")]
    others = [name for name in names if not name.startswith("rank ")]
    return ", ".join([*([f"rank {ranges(numbers)}"] if numbers else []), *others])
