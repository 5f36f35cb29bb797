"""What every rank says about itself: one small record in a folder that all hosts see.

    RUN/heartbeats/rank_3.json          what rank 3 does, how far it is, when it said so
    RUN/heartbeats/settings_ab12.json   the settings of the ranks whose record names ab12

`pangu status` and `pangu diagnose` read them. A record is written at every change of phase, at most once a second while
steps pass, and every `BEAT` seconds by a thread: so a rank that waits for others is told from one that is gone.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pangu_alpha.cluster.watching.values import (
    MAX_RANKS,
    Check,
    check_values,
    is_duration,
    is_moment,
    is_text,
    is_word,
    nothing_or,
    whole,
)
from pangu_alpha.console import say
from pangu_alpha.errors import ClusterError
from pangu_alpha.files import write_text
from pangu_alpha.reading import list_folder, read_json, whole_number
from pangu_alpha.records import read_records
from pangu_alpha.run_folder import HEARTBEATS, METRICS

if TYPE_CHECKING:
    from pangu_alpha.config import RunConfig

BEAT = 10.0
"""Seconds between the records of a rank that has nothing new to say."""
_MIN_INTERVAL = 1.0
"""Seconds between records while steps pass."""
_MAX_ERROR = 2000
"""Characters of an error message that a record keeps."""
_MIN_LEAD = 2.0
"""Seconds from which on a clock is called ahead: a file is never older than what is in it."""
_MAX_LEAD = 86400.0
"""Seconds from which on it is not the clock: the files have been dated by something else."""


@dataclass(frozen=True)
class Heartbeat:
    """What one rank said last."""

    rank: int
    num_ranks: int
    """Ranks of the job."""
    phase: str
    """starting, joining (waiting for all other ranks; no records meanwhile), compiling, training, validating, saving;
    at the end: ended, stopped or failed."""
    step: int | None
    """Steps done; None until the rank knows where it begins."""
    since: float
    """When this phase began or, in training, when `step` was done. Seconds since 1970 by the rank's clock."""
    time: float
    """When the record was written. Seconds since 1970 by the rank's clock."""
    host: str
    pid: int
    settings: str
    """Names the file with the rank's settings; equal settings have equal names."""
    step_seconds: float = 0.0
    """How long the last step took."""
    error: str = ""
    """What a failed rank says went wrong."""
    space: str = ""
    """Names the kernel and the pid namespace that `pid` is a number of: see `is_gone`."""
    clock_lead: float = 0.0
    """Seconds that the rank's clock is ahead of the one that dates the files of the folder. Found by `read_heartbeats`,
    which takes them off `since` and `time`."""
    dated: float = 0.0
    """When the file was written, by the clock that dates the files of the folder. Found by `read_heartbeats`."""

    @property
    def is_over(self) -> bool:
        """Whether the rank says nothing more after this record."""
        return self.phase in ("ended", "stopped", "failed")

    @classmethod
    def read(cls, path: Path) -> Heartbeat:
        """The record in `path`.

        Raises:
            OSError: it cannot be read.
            ValueError: it holds no record.
        """
        values = read_json(path)
        if not isinstance(values, dict):
            raise ValueError("not a record")
        missing = [field.name for field in fields(cls) if field.default is MISSING and field.name not in values]
        unknown = set(values) - {field.name for field in fields(cls)}
        if missing or unknown:
            what = f"it lacks {', '.join(missing)}" if missing else f"it has {min(unknown)[:40]!r}"
            raise ValueError(f"not a record: {what}")
        check_values(values, _CHECKS)
        record = cls(**values)
        if path.stem != f"rank_{record.rank}":
            raise ValueError(f"rank is {record.rank}, and its name says another one")
        return record


_CHECKS: dict[str, Check] = {
    "rank": whole(0, MAX_RANKS - 1),
    "num_ranks": whole(1, 10**9),
    "pid": whole(0, 2**32),
    "step": nothing_or(whole(0, 10**15)),
    **dict.fromkeys(("phase", "host", "settings", "space"), is_word),
    **dict.fromkeys(("since", "time"), is_moment),
    **dict.fromkeys(("step_seconds", "clock_lead", "dated"), is_duration),
    "error": is_text,
}
"""Of the values of a record."""


@dataclass(frozen=True)
class Records:
    """What all ranks said last."""

    by_rank: dict[int, Heartbeat]
    """Ranks ascending."""
    unreadable: dict[str, str]
    """Why a file tells nothing, by its path: half-written, forbidden, damaged."""

    @property
    def unreadable_ranks(self) -> set[int]:
        """The ranks whose records those files are."""
        numbers = [whole_number(Path(path).stem.removeprefix("rank_")) for path in self.unreadable]
        return {number for number in numbers if number is not None}


class HeartbeatWriter:
    """Writes the records of this process. Entering it says that the rank starts, leaving it how the rank ended."""

    def __init__(self, config: RunConfig, rank: int) -> None:
        """Take the job's size and folder from `config`."""
        self._folder = heartbeat_folder(config.output)
        self._settings = json.dumps(config.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, indent=1)
        digest = hashlib.sha256(self._settings.encode()).hexdigest()[:12]
        now = time.time()
        self._record = Heartbeat(
            rank,
            config.parallel.num_devices,
            "starting",
            None,
            now,
            now,
            socket.gethostname(),
            os.getpid(),
            digest,
            space=_space(),
        )
        self._lock = threading.Lock()
        self._leaving = threading.Event()
        self._can_write = True

    def __enter__(self) -> HeartbeatWriter:
        """Write the first record and keep writing.

        Raises:
            ClusterError: the folder cannot be written.
        """
        path = self._folder / f"settings_{self._record.settings}.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                write_text(path, self._settings)
        except OSError as error:
            raise ClusterError(
                f"{self._folder} cannot be written ({error}): free some space, or set output to a directory that every "
                "rank can write"
            ) from error
        self._write()
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def report(self, phase: str, step: int | None = None) -> None:
        """Say what this rank does now and how many steps it has done."""
        before, now = self._record, time.time()
        next_step = before.phase == phase == "training" and before.step != step
        self._change(
            phase=phase, step=step, since=now, step_seconds=now - before.since if next_step else before.step_seconds
        )
        if phase != before.phase or now - before.time >= _MIN_INTERVAL:
            self._write()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Say how it ended. A rank that exits or is interrupted was stopped by somebody; anything else is a failure."""
        self._leaving.set()
        if kind is None:
            self._change(phase="ended", since=time.time())
        elif issubclass(kind, SystemExit | KeyboardInterrupt):
            self._change(phase="stopped", since=time.time())
        else:
            # The name of a file may hold bytes that are no text, which could not be written.
            words = f"{kind.__name__}: {error}".encode(errors="backslashreplace").decode()
            self._change(phase="failed", since=time.time(), error=words[:_MAX_ERROR])
        self._write()

    def _change(self, **values: Any) -> None:
        with self._lock:
            self._record = replace(self._record, **values)

    def _beat(self) -> None:
        while not self._leaving.wait(BEAT):
            self._write()

    def _write(self) -> None:
        with self._lock:
            self._record = replace(self._record, time=time.time())
            path = self._folder / f"rank_{self._record.rank}.json"
            try:
                write_text(path, json.dumps(asdict(self._record), ensure_ascii=False))
            except OSError as error:
                # Training is worth more than its record: what it needs the disk for will say so itself.
                if self._can_write:
                    say(f"{path} cannot be written ({error}); `pangu status` will call this rank silent")
                self._can_write = False


def heartbeat_folder(output: Path) -> Path:
    """Where the records of the run in `output` are."""
    return output / HEARTBEATS


def read_heartbeats(output: Path) -> dict[int, Heartbeat]:
    """The newest record of each rank that can be read; see `read_all`."""
    return read_all(output).by_rank


def read_all(output: Path) -> Records:
    """The newest record of each rank, and which files cannot be read: one among thousands hides no other.

    Raises:
        ClusterError: the folder cannot be read.
    """
    folder = heartbeat_folder(output)
    try:
        paths = list_folder(folder, "rank_*.json")
    except OSError as error:
        raise ClusterError(f"{folder} cannot be read ({error.strerror}): ask as the user who trains") from error
    records, unreadable = {}, {}
    for path in paths:
        try:
            record = _read(path)
            if is_gone(record):
                record = _read(path)  # it may have ended since it was read
            records[record.rank] = record
        except FileNotFoundError:
            continue  # cleared by a launcher since it was listed
        except OSError as error:
            unreadable[str(path)] = str(error.strerror)
        except ValueError as error:
            unreadable[str(path)] = str(error)
    return Records(dict(sorted(records.items())), unreadable)


def is_gone(record: Heartbeat) -> bool:
    """Whether the process of `record` was one of this machine and is no more, without having said that it ends."""
    return not record.is_over and record.space != "" and record.space == _space() and not _is_running(record.pid)


def _is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@cache
def _space() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux, or hidden
        return ""


def _read(path: Path) -> Heartbeat:
    record, dated = Heartbeat.read(path), path.stat().st_mtime
    lead = record.time - dated
    if not _MIN_LEAD < lead < _MAX_LEAD:
        return replace(record, clock_lead=0.0, dated=dated)
    return replace(record, since=record.since - lead, time=record.time - lead, clock_lead=lead, dated=dated)


def read_settings(output: Path, name: str) -> dict[str, Any]:
    """The settings that records with `settings` = `name` were written under.

    Raises:
        ClusterError: their file is gone or damaged.
    """
    path = heartbeat_folder(output) / f"settings_{name}.json"
    try:
        settings = read_json(path)
        if not isinstance(settings, dict):
            raise ValueError("it holds no settings")
    except (OSError, ValueError) as error:
        raise ClusterError(f"{path} cannot be read ({error}): start the run again, its ranks write it") from error
    return settings


def clear_heartbeats(output: Path, ranks: Iterable[int]) -> None:
    """Remove the records of an earlier attempt. A launcher does it for the ranks that it is about to start."""
    for rank in ranks:
        (heartbeat_folder(output) / f"rank_{rank}.json").unlink(missing_ok=True)


def last_step(output: Path) -> int | None:
    """Steps done by the attempt that ended last; None when no rank came to its first step.

    Records lag up to a second behind, metrics.jsonl of rank 0 does not: where steps are short it knows better.
    """
    steps = [record.step for record in read_heartbeats(output).values() if record.step is not None]
    if not steps:
        return None
    return max(*steps, _last_metrics_step(output / METRICS))


def _last_metrics_step(metrics: Path) -> int:
    """The step of the last whole line; 0 when there is none, which must not keep a job from its restart."""
    try:
        records = read_records(metrics)
        return int(records[-1]["step"]) if records else 0
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return 0
