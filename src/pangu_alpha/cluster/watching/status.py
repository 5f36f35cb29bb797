"""The cluster in one screen: ranks that say the same in one row, and those that are silent, behind or dead by name."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pangu_alpha.cluster.patterns import ranges
from pangu_alpha.cluster.watching.exits import Exit, rank_of, read_exits
from pangu_alpha.cluster.watching.heartbeat import BEAT, Heartbeat, is_gone, read_all, read_settings
from pangu_alpha.cluster.watching.values import MAX_RANKS
from pangu_alpha.console import duration
from pangu_alpha.errors import ClusterError
from pangu_alpha.run_folder import LOGS

SILENT = 6 * BEAT
"""Age of a record, in seconds, from which on its rank is called silent."""
_SLACK = 5.0
"""Seconds that a rank may take longer than three of its steps before it is called behind."""
_ORDER = ("training", "validating", "saving", "compiling", "starting", "joining", "ended", "stopped")
"""Of the rows; what is not among them needs attention and comes after."""
_MAX_RANGES = 60
"""Characters of a list of ranks that are shown."""
_MAX_WORDS = 160
"""Characters of an error that are shown."""
_MAX_UNREADABLE = 10
"""Files that cannot be read and are named."""
_MAX_HOSTS = 4
"""Hosts of a row that are named."""
_MAX_LEAD = 5.0
"""Seconds that a clock may be ahead before it is said."""


@dataclass(frozen=True)
class StatusRow:
    """Ranks that say the same."""

    ranks: tuple[int, ...]
    state: str
    """A phase of `Heartbeat`, or: behind, silent, missing, died, unreadable."""
    says: str


@dataclass(frozen=True)
class Status:
    """What all ranks say at one moment."""

    rows: tuple[StatusRow, ...]
    num_ranks: int
    num_hosts: int
    num_steps: int | None
    """Steps of the whole run; None when its settings cannot be read."""
    summary: str
    """One sentence on what it means."""
    clocks: str = ""
    """One sentence on hosts whose clocks are ahead, when there are any."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Why a file tells nothing, by its path."""

    @property
    def is_over(self) -> bool:
        """Whether no rank will say anything more."""
        return all(row.state in ("ended", "stopped", "failed", "died", "silent", "unreadable") for row in self.rows)


def read_status(output: Path, now: float | None = None) -> Status:
    """The status of the run whose directory is `output`.

    Args:
        now: seconds since 1970, by default this moment.

    Raises:
        ClusterError: `output` is not the directory of a run that has started, or nothing in it can be read.
    """
    found = read_all(output)
    records, unreadable = found.by_rank, dict(found.unreadable)
    if not records:
        words = describe_unreadable(unreadable)
        raise ClusterError(
            "\n".join(words)
            or f"{output} has no heartbeats: no rank of it has started yet, or it is not the output directory of a run"
        )
    now = time.time() if now is None else now
    first = next(iter(records.values()))
    exits = read_exits(output / LOGS, records, unreadable)
    try:
        num_steps = int(read_settings(output, first.settings)["train"]["steps"])
    except (ClusterError, KeyError, TypeError, ValueError, OverflowError) as error:
        num_steps = None
        unreadable[f"the settings of rank {first.rank}"] = str(error)
    rows = _rows(records, exits, min(first.num_ranks, MAX_RANKS), now, found.unreadable_ranks)
    return Status(
        rows=rows,
        num_ranks=first.num_ranks,
        num_hosts=len({record.host for record in records.values()}),
        num_steps=num_steps,
        summary=("as far as can be read: " if unreadable else "") + _summary(rows, records, now),
        unreadable=unreadable,
        clocks=_clocks(records.values()),
    )


def describe(output: Path, status: Status) -> str:
    """`status` as text of one screen."""
    steps = "?" if status.num_steps is None else f"{status.num_steps:,}"
    lines = [f"{output}: {status.num_ranks} ranks on {status.num_hosts} host(s), {steps} steps"]
    table = [(_shorten(ranges(row.ranks)), str(len(row.ranks)), row.state, row.says) for row in status.rows]
    widths = [max(len(line[column]) for line in table) for column in range(3)]
    for ranks, number, state, says in table:
        lines.append(f"  rank {ranks:<{widths[0]}}  {number:>{widths[1]}} ×  {state:<{widths[2]}}  {says}".rstrip())
    return "\n".join(
        [*lines, *describe_unreadable(status.unreadable), *([status.clocks] if status.clocks else []), status.summary]
    )


def describe_unreadable(unreadable: Mapping[str, str]) -> list[str]:
    """A line for each file that tells nothing, the first of them only when there are many."""
    lines = [f"cannot be read: {path}: {why}" for path, why in list(unreadable.items())[:_MAX_UNREADABLE]]
    more = len(unreadable) - len(lines)
    return [*lines, f"and {more} files more"] if more else lines


def is_silent(record: Heartbeat, now: float) -> bool:
    """Whether `record` is too old for a rank that lives. One that joins the others cannot write meanwhile."""
    return not record.is_over and record.phase != "joining" and now - record.time > SILENT


def one_line(error: str) -> str:
    """The words of an error message without MindSpore's rules of dashes, cut to fit a screen."""
    words = " ".join(line for line in error.splitlines() if line.strip(" -"))
    return words if len(words) <= _MAX_WORDS else f"{words[:_MAX_WORDS]} …"


def where(records: Sequence[Heartbeat]) -> str:
    """The host and process of a rank, or the hosts of several."""
    if len(records) == 1:
        return f"on {records[0].host} (process {records[0].pid})"
    hosts = sorted({record.host for record in records})
    return f"on {', '.join(hosts[:_MAX_HOSTS])}{', …' if len(hosts) > _MAX_HOSTS else ''}"


def last_words(record: Heartbeat) -> str:
    """What `record` says."""
    return record.phase if record.step is None else f"{record.phase}, step {record.step}"


def _rows(
    records: Mapping[int, Heartbeat], exits: Mapping[str, Exit], num_ranks: int, now: float, unreadable: Collection[int]
) -> tuple[StatusRow, ...]:
    newest = max((record.step for record in records.values() if record.step is not None), default=0)
    has_failed = any(_has_failed(end, records.get(rank_of(name))) for name, end in exits.items())
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for rank in range(num_ranks):
        end = exits.get(f"rank {rank}")
        if rank in unreadable and (end is None or end.is_good(has_saved=True)):
            groups["unreadable", "its record says nothing"].append(rank)
        else:
            groups[_state(records.get(rank), end, newest, has_failed, now)].append(rank)
    rows = []
    for (state, says), ranks in groups.items():
        group = [records[rank] for rank in ranks if rank in records]
        words = [says or _progress(group, now), *([where(group)] if says and group else [])]
        rows.append(StatusRow(tuple(ranks), state, ", ".join(words)))
    return tuple(sorted(rows, key=lambda row: (_ORDER.index(row.state) if row.state in _ORDER else 99, row.ranks)))


def _state(record: Heartbeat | None, end: Exit | None, newest: int, has_failed: bool, now: float) -> tuple[str, str]:
    """State of a rank, and what its row says when it is more than its phase and step.

    Args:
        end: how the launcher saw it end, when it did.
        newest: the largest step of any rank.
        has_failed: a launcher has seen a process fail, and then ends the others.
    """
    if record is not None and record.phase == "failed":
        return "failed", one_line(record.error)
    if end is not None and _has_failed(end, record):
        return "died", f"{end}, having said: {last_words(record)}" if record else str(end)
    if record is None:
        return "missing", "has not started"
    is_late = end is None and has_failed and now - record.time > 2 * BEAT
    if not record.is_over and ((end is not None and end.with_job) or is_late):
        return "ended", f"with the job, having said: {last_words(record)}"
    if record.time - now > _MAX_LEAD and not record.is_over:
        return "unclear", f"its clock is {duration(record.time - now)} ahead of this one, said: {last_words(record)}"
    if is_gone(record):
        return "died", f"its process is gone, having said: {last_words(record)}"
    if is_silent(record, now):
        said = f"said last: {last_words(record)}, {duration(60 * ((now - record.time) // 60))} ago"
        is_fresh = now - record.dated < SILENT
        return "silent", said + (
            ", but in a new file: its clock is behind, or the folder is a copy" if is_fresh else ""
        )
    late = record.phase == "training" and now - record.since > _SLACK + 3 * record.step_seconds
    if late and (record.step or 0) < newest:
        return "behind", f"step {record.step}"
    return record.phase, ""


def _has_failed(end: Exit, record: Heartbeat | None) -> bool:
    return not end.with_job and not end.is_good(has_saved=record is not None and record.is_over)


def _progress(records: Sequence[Heartbeat], now: float) -> str:
    """One line for ranks that are in the same phase."""
    longest, last = (duration(now - choose(record.since for record in records)) for choose in (min, max))
    steps = [record.step for record in records if record.step is not None]
    phase = records[0].phase
    if phase == "joining":
        return f"waiting for all other ranks for {longest}"
    if phase in ("starting", "compiling"):
        return f"for {longest}" + (f", going on after step {max(steps)}" if any(steps) else "")
    span = " to ".join(str(step) for step in sorted({min(steps, default=0), max(steps, default=0)}))
    if phase == "training":
        seconds = max(record.step_seconds for record in records)
        return f"step {span}, the last one {last} ago" + (f", {duration(seconds)} a step" if seconds else "")
    return f"step {span}, {last} ago" if records[0].is_over else f"step {span}, for {longest}"


def _summary(rows: tuple[StatusRow, ...], records: Mapping[int, Heartbeat], now: float) -> str:
    states = {row.state for row in rows}
    if states & {"failed", "died", "silent"}:
        return "not well: `pangu diagnose` says what happened first"
    if "unclear" in states:
        return "whether the ranks whose clocks are ahead live cannot be told: let an NTP client set the clocks"
    if "behind" in states:
        return "the others wait for those behind; `py-spy dump --pid PROCESS` on their host shows where they are"
    if "missing" in states:
        return "not all ranks have started; the others wait for them"
    if states <= {"ended", "stopped"}:
        return "all ranks have ended well"
    if states & {"starting", "joining"}:
        return "the ranks start and find each other"
    if "compiling" in states:
        return "compiling: the first step comes after it; a large network takes minutes to hours"
    running = [record for record in records.values() if record.step_seconds and not record.is_over]
    idle = min((now - record.since for record in running), default=0.0)
    if running and idle > SILENT + 10 * max(record.step_seconds for record in running):
        return (
            f"no rank has done anything for {duration(idle)}: the job hangs; `py-spy dump --pid PROCESS` shows where a "
            "rank waits"
        )
    return "all is well"


def _clocks(records: Iterable[Heartbeat]) -> str:
    leads: dict[str, float] = {}
    for record in records:
        if record.clock_lead > _MAX_LEAD:
            leads[record.host] = max(record.clock_lead, leads.get(record.host, 0.0))
    if not leads:
        return ""
    hosts, more = sorted(leads)[:_MAX_HOSTS], len(leads) > _MAX_HOSTS
    return (
        f"the clock of {', '.join(hosts)}{', …' if more else ''} is up to {duration(max(leads.values()))} ahead of the "
        "clock of the storage, and is counted so here: let an NTP client set it"
    )


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_RANGES else f"{text[:_MAX_RANGES].rsplit(',', 1)[0]}, …"
