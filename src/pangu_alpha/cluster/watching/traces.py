"""What one process of a job has left: the end of it that a launcher saw, its record and its log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pangu_alpha.cluster.watching.exits import Exit, rank_of, read_exits
from pangu_alpha.cluster.watching.failure import Origin
from pangu_alpha.cluster.watching.heartbeat import Heartbeat
from pangu_alpha.cluster.watching.known_failures import JOB_SYSTEM
from pangu_alpha.cluster.watching.logs import Log, find_logs, read_log


@dataclass(frozen=True)
class Traces:
    """What one process left."""

    name: str
    log: Log
    record: Heartbeat | None
    end: Exit | None
    job_was_stopped: bool = False
    """Whether a rank says that the job was stopped and has saved, which all ranks do together."""

    @property
    def is_dead(self) -> bool:
        """Whether it is known to have failed."""
        if self._was_stopped and self.log.finding is not None and self.log.finding.failure is JOB_SYSTEM:
            return True
        has_saved = self.job_was_stopped or (self.record is not None and self.record.is_over)
        has_ended_badly = self.end is not None and not self.end.with_job and not self.end.is_good(has_saved)
        return has_ended_badly or (self.record is not None and self.record.phase == "failed")

    @property
    def _was_stopped(self) -> bool:
        if self.end is not None:
            return self.end.was_stopped and not self.end.with_job
        return self.record is not None and self.record.phase == "stopped"

    @property
    def has_ended_well(self) -> bool:
        """Whether it is known to have come to its end."""
        is_over = self.record is not None and self.record.is_over
        return not self.is_dead and (is_over or (self.end is not None and not self.end.with_job))

    @property
    def place(self) -> Origin:
        """Where it ran."""
        return Origin(self.name, self.record.host if self.record else None, self.log.card)


def read_traces(logs: Path, records: Mapping[int, Heartbeat], unreadable: dict[str, str]) -> list[Traces]:
    """What each process left; `unreadable` gets what cannot be read of it."""
    exits = read_exits(logs, records, unreadable)
    paths: dict[str, Path] = {}
    traces = []
    with _noting(logs, unreadable):
        paths = find_logs(logs)
    for name in sorted({*paths, *exits, *(f"rank {rank}" for rank in records)}):
        path = paths.get(name, logs / f"{name.replace(' ', '_')}.log")
        log = Log(path)
        if name in paths:
            with _noting(path, unreadable):
                log = read_log(path)
        traces.append(Traces(name, log, records.get(rank_of(name)), exits.get(name)))
    was_stopped = any(of_one.log.was_stopped for of_one in traces)
    return [replace(of_one, job_was_stopped=was_stopped) for of_one in traces]


@contextmanager
def _noting(path: Path, unreadable: dict[str, str]) -> Iterator[None]:
    """Go on when `path` cannot be read, and note why."""
    try:
        yield
    except FileNotFoundError:
        pass
    except OSError as error:
        unreadable[str(path)] = str(error.strerror)
