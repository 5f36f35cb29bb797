"""Which rank failed first, and why, from what all of them left: exit codes, records and logs."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any

from pangu_alpha.cluster.patterns import ranges
from pangu_alpha.cluster.watching.exits import rank_of
from pangu_alpha.cluster.watching.failure import Kind, Match, Origin
from pangu_alpha.cluster.watching.heartbeat import Heartbeat, Records, is_gone, read_all, read_settings
from pangu_alpha.cluster.watching.known_failures import SETTINGS, SIGNALS, SYSTEM_KILL, find_failure
from pangu_alpha.cluster.watching.logs import MAX_SHOWN, time_of
from pangu_alpha.cluster.watching.status import is_silent, last_words, one_line, where
from pangu_alpha.cluster.watching.traces import Traces, read_traces
from pangu_alpha.console import duration
from pangu_alpha.errors import ClusterError
from pangu_alpha.run_folder import LOGS

_SAME_MOMENT = 60.0
"""Seconds that the kernel's and the launcher's notes of one death may differ."""


class Weight(IntEnum):
    """How likely a failure is the first cause: the lower the likelier, whatever the clocks say."""

    CAUSE = 0
    """A known cause in the process itself."""
    UNKNOWN = 1
    """It failed and its messages do not say why."""
    SILENT = 2
    """It was heard of no more; launchers end the other ranks after a failure, which looks the same."""
    CONSEQUENCE = 3
    """It lost another rank."""


_WEIGHTS = {
    Kind.CAUSE: Weight.CAUSE,
    Kind.UNEXPLAINED: Weight.UNKNOWN,
    Kind.CONSEQUENCE: Weight.CONSEQUENCE,
}


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
    """Or its own words, when no message of it is a known one."""
    fix: str
    evidence: str
    """The words that tell, and the file and line they are in."""
    last_error: str = ""
    """The last error line of its log, with its place, when it is not the evidence."""
    waited_for: tuple[int, ...] = ()
    """The ranks that its messages say it lost."""
    in_general: str = ""
    """`cause` without the names of the process, its host and card; the same for all that died of the same."""
    why_unknown: str = ""
    """What `cause` is when it is not the cause."""
    hint: str = ""
    """Where the cause is not known: a known failure that the process went on after, and where it said so."""
    said: float | None = None
    """Seconds since 1970 of the evidence, where its line has a time."""


@dataclass(frozen=True)
class Diagnosis:
    """What happened to a job."""

    failures: tuple[Failure, ...]
    """First cause first; none when nothing has failed."""
    others: Mapping[str, tuple[int, ...]]
    """What the ranks said last that have not failed, and which ranks."""
    settings: Mapping[int, str]
    """What is different in the settings of ranks that do not have those of most ranks."""
    unreadable: Mapping[str, str]
    """Why a file or a folder tells nothing, by its path."""
    can_tell: bool
    """Whether anything says of any process how it is or ended; a log alone, without an error, does not."""


def diagnose(output: Path, attempt: int | None = None) -> Diagnosis:
    """Find out what happened to the run whose directory is `output`.

    Args:
        attempt: an earlier attempt, of which logs and exit codes are kept; None for the newest.

    Raises:
        ClusterError: `output` is not the directory of a run that has started, or there is no such attempt.
    """
    logs = output / LOGS if attempt is None else output / LOGS / f"attempt_{attempt}"
    found = read_all(output) if attempt is None else Records({}, {})
    records, unreadable = found.by_rank, dict(found.unreadable)
    if not records and not unreadable and not logs.is_dir():
        raise ClusterError(f"{logs} does not exist: give the output directory of a run, and an attempt that it had")
    try:
        odd = settings_differences(output, records)
    except ClusterError as error:  # it says less without them
        odd, unreadable["settings"] = {}, str(error)
    failures, others = [], defaultdict(list)
    all_traces = read_traces(logs, records, unreadable)
    for traces in all_traces:
        failure = _examine(traces, odd, time.time())
        if failure is not None:
            failures.append(failure)
        elif traces.record is not None:
            others[last_words(traces.record)].append(traces.record.rank)
    return Diagnosis(
        failures=_in_order(failures),
        others={words: tuple(ranks) for words, ranks in others.items()},
        settings=odd,
        unreadable=unreadable,
        can_tell=bool(failures) or any(traces.record or traces.end for traces in all_traces),
    )


def describe(diagnosis: Diagnosis) -> str:
    """A job's failures in words: the first one, what to do about it, who followed, and what the others did."""
    first = diagnosis.failures[0]
    at = time.strftime("%H:%M:%S", time.localtime(first.time))
    if first.weight == Weight.CONSEQUENCE:
        lines = [f"no cause was found: all that failed speak of other ranks, {first.name} first, at {at}: {first.how}"]
    else:
        lines = [f"{first.name} failed first, at {at}: {first.how}"]
    lines += [f"  why    {first.why_unknown}{first.cause}", f"  do     {first.fix}"]
    if first.evidence:
        lines.append(f"  seen   {first.evidence}")
    if first.last_error:
        lines.append(f"  last   {first.last_error}")
    if first.hint:
        lines.append(f"  hint   {first.hint}")
    followers: dict[str, list[Failure]] = defaultdict(list)
    for failure in diagnosis.failures[1:]:
        followers[failure.in_general].append(failure)
    for cause, alike in followers.items():
        words = cause if len(alike) > 1 else alike[0].cause
        lines.append(f"then     {_names([failure.name for failure in alike])}: {words}")
    lines += [f"others   rank {ranges(ranks)}, said last: {words}" for words, ranks in diagnosis.others.items()]
    if first.weight == Weight.CONSEQUENCE:
        lines += _where_to_look(diagnosis)
    by_change: dict[str, list[int]] = defaultdict(list)
    for rank, change in diagnosis.settings.items():
        by_change[change].append(rank)
    lines += [
        f"settings rank {ranges(ranks)}: {change}" for change, ranks in by_change.items() if change != first.cause
    ]
    return "\n".join(lines)


def _where_to_look(diagnosis: Diagnosis) -> Iterator[str]:
    """Which rank to look at when all that failed were waiting for another one."""
    waited_for = _waited_for(diagnosis.failures)
    waiting = {failure.name for failure in diagnosis.failures}
    roots = [rank for rank in waited_for if f"rank {rank}" not in waiting] or list(waited_for)
    if roots:
        most = max(waited_for[rank] for rank in roots)
        ranks = [rank for rank in roots if waited_for[rank] == most]
        yield f"look     at rank {ranges(ranks)} first: {most} process(es) say that they lost it"
    elif diagnosis.others:
        yield "look     at those others first: all that failed were waiting for another rank"


def _waited_for(failures: Sequence[Failure]) -> Counter[int]:
    """How many processes say of each rank that they lost it."""
    return Counter(rank for failure in failures for rank in failure.waited_for if failure.name != f"rank {rank}")


def _in_order(failures: Sequence[Failure]) -> tuple[Failure, ...]:
    """The likeliest first cause first; among those that fell silent, one that others name is likelier."""
    waited_for = _waited_for(failures)
    ordered: list[Failure] = []
    for weight in Weight:
        alike = [failure for failure in failures if failure.weight == weight]
        # What the messages say is nearer to the fault than the end of a process, but only all of them can be compared.
        have_times = all(failure.said is not None for failure in alike)

        def key(failure: Failure, have_times: bool = have_times) -> tuple[bool, float, str]:
            is_named = failure.weight == Weight.SILENT and waited_for[rank_of(failure.name)] > 0
            said = failure.said if have_times and failure.said is not None else failure.time
            return (not is_named, said, failure.name)

        ordered += sorted(alike, key=key)
    return tuple(ordered)


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


def _examine(traces: Traces, odd: Mapping[int, str], now: float) -> Failure | None:
    """What `traces` say about a failure; None when there was none."""
    record, end, log = traces.record, traces.end, traces.log
    silent = record is not None and (is_silent(record, now) or is_gone(record))
    ended_with_job = end is not None and end.with_job
    if traces.has_ended_well or not (traces.is_dead or silent or ended_with_job or record is None):
        return None

    failure = partial(_failure, traces, now)
    if memory := _system_kill(traces):
        return failure(Weight.CAUSE, *Match.without_groups(SYSTEM_KILL).words(traces.place), f"kernel log: {memory}")
    died_of = SIGNALS.get((end.killed_by if end and not ended_with_job else None) or "")
    finding, evidence = _finding(traces)
    if finding is not None and ended_with_job and finding.failure.kind is not Kind.CAUSE:
        return None  # the end of the job looks like this too
    if finding is not None and (finding.failure.kind is Kind.CAUSE or not died_of):
        cause, fix = finding.words(traces.place)
        weight = _WEIGHTS[finding.failure.kind]
        if finding.failure is SETTINGS:
            mine = odd.get(record.rank) if record else None
            weight, cause = Weight.CAUSE if mine else Weight.CONSEQUENCE, mine or cause
        return failure(weight, cause, fix, evidence, finding=finding)
    if died_of:
        last = log.last_error or log.last
        return failure(Weight.CAUSE, *died_of, log.quote(last) if last else "")
    if traces.is_dead or (record is None and end is None and traces.name != "scheduler" and log.is_strong):
        return failure(Weight.UNKNOWN, *_unknown(traces))
    if silent and not ended_with_job:
        return failure(
            Weight.SILENT,
            "it was heard of no more: its process or its host is gone, or the launcher ended it with the others",
            "look for the process on that host, and at the host itself (`uptime`, `dmesg`)",
        )
    return None


def _failure(
    traces: Traces,
    now: float,
    weight: Weight,
    cause: str,
    fix: str,
    evidence: str = "",
    why: str = "",
    finding: Match | None = None,
) -> Failure:
    """What is told of a failed process: the last error of its log only where the cause is not known."""
    log = traces.log
    last = "" if log.last_error is None else log.quote(log.last_error)
    said = time_of(finding.at.text) if finding else None
    return Failure(
        name=traces.name,
        weight=weight,
        time=_moment(traces, said),
        how=_how(traces, now),
        cause=cause,
        fix=fix,
        evidence=evidence,
        last_error="" if weight != Weight.UNKNOWN or last == evidence else last,
        waited_for=finding.others if finding else (),
        in_general=finding.words(Origin())[0] if finding and finding.failure is not SETTINGS else cause,
        why_unknown=why,
        hint=_hint(traces) if weight in (Weight.UNKNOWN, Weight.SILENT) else "",
        said=said,
    )


def _hint(traces: Traces) -> str:
    """What its log has of a known failure that it went on after."""
    hint = traces.log.hint
    if hint is None:
        return ""
    cause = hint.words(traces.place)[0]
    return f"it went on after this, which need not be the cause: {cause}; {traces.log.quote(hint.at)}"


def _finding(traces: Traces) -> tuple[Match | None, str]:
    """The known failure that its log or else its record has, and where."""
    log, record = traces.log, traces.record
    if log.finding is not None:
        return log.finding, log.quote(log.finding.at)
    finding = find_failure(record.error) if record is not None else None
    return finding, f"its record: {finding.at.text[:MAX_SHOWN]}" if finding else ""


def _unknown(traces: Traces) -> tuple[str, str, str, str]:
    """Its own last words, what to do, where they are and what they are, for a death that no known message explains."""
    record, log = traces.record, traces.log
    last = log.last_error or log.last
    evidence = log.quote(last) if last else ""
    fix = f"read {log.path}; no message {'in it' if log.hint is None else 'at its end'} is a known one"
    if record is not None and record.error:
        return one_line(record.error), fix, evidence, "unknown; it said of itself: "
    if last is not None:
        what = "the last error line is" if log.last_error else "it printed no error; its last line is"
        return last.text[:MAX_SHOWN], fix, evidence, f"unknown; {what}: "
    missing = "has nothing but progress" if log.path.is_file() else "is not a file that is there"
    fix = f"{log.path} {missing}: see the other ranks, and `dmesg` on its host"
    return "it left no message", fix, "", "unknown; "


def _moment(traces: Traces, said: float | None) -> float:
    """When it failed, as well as its traces tell."""
    record, end = traces.record, traces.end
    times = [end.time - (record.clock_lead if record else 0.0)] if end else []
    if record is not None:
        times.append(record.time)
    if times or said:
        return min(times) if times else said or 0.0
    return traces.log.path.stat().st_mtime if traces.log.path.exists() else 0.0


def _how(traces: Traces, now: float) -> str:
    record, end = traces.record, traces.end
    how = ""
    if end is not None:
        how = str(end)
    elif record is not None and not traces.is_dead:
        how = "its process is gone" if is_gone(record) else f"silent for {duration(now - record.time)}"
    if record is None:
        return how or "see its log"
    step = "before its first step" if not record.step else f"after step {record.step}"
    said = step if record.phase in ("failed", "training") else f"{step}, while {last_words(record)}"
    return ", ".join(word for word in (how, said, where([record])) if word)


def _system_kill(traces: Traces) -> str:
    """The line of this host's kernel log that says that the process was killed for memory, if there is one."""
    record, end = traces.record, traces.end
    if record is None or end is None or end.killed_by != "SIGKILL" or record.host != socket.gethostname():
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


def _names(names: Sequence[str]) -> str:
    numbers = [int(name.removeprefix("rank ")) for name in names if name.startswith("rank ")]
    others = [name for name in names if not name.startswith("rank ")]
    return ", ".join([*([f"rank {ranges(numbers)}"] if numbers else []), *others])
