"""The processes of a job on this machine: starting them, following them, passing signals on, ending them.

Every process has a log, and leads a session of its own, so that Ctrl-C on the terminal reaches it once: from here.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from pangu_alpha.cluster.launching.environment import cores_of, num_threads
from pangu_alpha.errors import ClusterError, TrainingError
from pangu_alpha.files import write_text

KILL = int(signal.SIGKILL)
"""Asked for by whoever starts a job here from afar: end everything at once."""
_POLL = 0.05
"""Seconds between looks at the processes."""
_PATIENCE = 2
"""Signals that are passed on; the next one kills: a rank that waits in a collective hears none."""
_END_TIMEOUT = 10.0
"""Seconds that processes have to end after they were killed."""
_NUM_LINES = 15
"""Lines of a dead process's log that are shown."""
_LINE_LENGTH = 400
"""Characters of such a line that are shown."""
_NUM_NAMED = 4
"""Processes that died at the same time and are described; of the others the number is said."""
NOISE = b"[INFO] DISTRIBUTED("
"""MindSpore's remarks about its sockets, which no log level silences."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class ProcessOrder:
    """One process that is to be started."""

    name: str
    """`rank 3` or `scheduler`."""
    words: Sequence[str]
    """The command."""
    environment: Mapping[str, str]
    """Added to this process's own."""
    index: int = 0
    """Which of its server's ranks it is, from 0."""
    num_cards: int = 1
    """Ranks of its server, which share the cores."""

    @property
    def log_name(self) -> str:
        """File name of its log."""
        return f"{self.name.replace(' ', '_')}.log"


@dataclass
class Member:
    """One process of a job."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self) -> None:
        """Ask it to save and end."""
        # Always this signal: while a graph runs, MindSpore turns SIGINT into it, and the ranks must agree.
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()

    def last_words(self, noise: Sequence[bytes] = (NOISE,)) -> str:
        """What there is to say about its death; lines with `noise` in them say nothing."""
        return f"{self.name} died ({reason(self.process.returncode)}), {tail(self.log, noise)}"


@dataclass
class Job:
    """Processes that succeed or fail together. As a context manager it leaves none of them behind."""

    requests: list[int]
    """Numbers of the signals that came for the job: appended elsewhere, passed on by `watch`."""
    record: Path | None = None
    """Where the ends of the processes are written."""
    noise: Sequence[bytes] = (NOISE,)
    """What is in lines that are not shown."""
    members: list[Member] = field(default_factory=list)
    _num_passed_on: int = 0
    _ends: dict[str, dict[str, str | int | float]] = field(default_factory=dict)

    def watch(self, shown: Path | None) -> None:
        """Copy what is added to the log `shown` to stderr until all processes but the scheduler have ended well.

        Raises:
            TrainingError: processes died, were stopped before they could save, or are to be killed. The others still
                run.
        """
        with ExitStack() as stack:
            log = stack.enter_context(shown.open("rb")) if shown else None
            while True:
                running = [member for member in self.members if member.process.poll() is None]
                _show(log or (), self.noise)
                self._pass_signals_on(running)
                self._check()
                if all(member.name == "scheduler" for member in running):
                    return
                time.sleep(_POLL)

    def __enter__(self) -> Job:
        """Nothing runs yet: append to `members`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill what still runs."""
        for member in self.members:
            if member.process.poll() is None:
                member.kill()
        deadline = time.monotonic() + _END_TIMEOUT
        for member in self.members:
            try:
                member.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:  # a server that no longer answers
                member.process.kill()
                member.process.wait()
        self._write_ended_with_job()

    def _pass_signals_on(self, running: Sequence[Member]) -> None:
        while self._num_passed_on < len(self.requests):
            if self.requests[self._num_passed_on] == KILL or self._num_passed_on == _PATIENCE:
                raise TrainingError("ended at once, as asked")
            for member in running:
                if member.name != "scheduler":
                    member.stop()
            self._num_passed_on += 1

    def _check(self) -> None:
        ended = [member for member in self.members if member.process.returncode is not None]
        self._write_ends(ended)
        good = {0, 128 + signal.SIGTERM} if self.requests else {0}
        # One that was killed is rather the cause than one that then lost its connection to it.
        dead = sorted(
            (member for member in ended if member.process.returncode not in good),
            key=lambda member: member.process.returncode > 0,
        )
        if dead and self.requests:
            raise TrainingError(f"stopped before it could save: {dead[0].last_words(self.noise)}")
        if dead:
            words = [member.last_words(self.noise) for member in dead[:_NUM_NAMED]]
            if len(dead) > _NUM_NAMED:
                words.append(f"and {len(dead) - _NUM_NAMED} more at the same time")
            raise TrainingError("\n".join(words))

    def _write_ends(self, ended: Iterable[Member]) -> None:
        new = {member.name: _end(member) for member in ended if member.name not in self._ends}
        if new and self.record is not None:
            self._ends |= new
            _write(self.record, self._ends.values())

    def _write_ended_with_job(self) -> None:
        ended = [_end(member) for member in self.members if member.name not in self._ends]
        if ended and self.record is not None:
            _write(ended_with_job(self.record), ended)


def ended_with_job(record: Path) -> Path:
    """Where the ends of those are written that the launcher itself has ended, beside its `record` of the others."""
    return record.with_name(record.name.replace("exits", "ended", 1))


def _end(member: Member) -> dict[str, str | int | float]:
    code, number = member.process.returncode, re.search(r"\d+", member.name)
    return {
        **({"rank": int(number[0])} if number else {"name": member.name}),
        **({"signal": signal.Signals(-code).name} if code < 0 else {"exit_code": code}),
        "time": time.time(),
    }


def _write(path: Path, ends: Iterable[dict[str, str | int | float]]) -> None:
    write_text(path, json.dumps(list(ends), indent=1) + "\n")


def start(tasks: Sequence[ProcessOrder], logs: Path, job: Job, directory: Path | None = None) -> None:
    """Start `tasks` on this machine and make them members of `job`, with their logs in `logs`.

    Ranks get a share of the cores each, when there are as many cores as ranks.

    Args:
        tasks: what to start.
        logs: an existing directory.
        job: what they become members of.
        directory: working directory, otherwise that of this process.

    Raises:
        ClusterError: a process cannot be started.
    """
    libc = ctypes.CDLL(None)
    for task in tasks:
        cores = cores_of(task.index, task.num_cards)

        def prepare(cores: frozenset[int] | None = cores, is_rank: bool = task.name != "scheduler") -> None:
            # When this program is killed, the ranks save and end instead of going on unseen. The scheduler ends after
            # them: without it MindSpore ends a rank that takes its time.
            if is_rank:
                libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if cores:
                os.sched_setaffinity(0, cores)

        environment = {"OMP_NUM_THREADS": str(num_threads(task.num_cards)), **os.environ, **task.environment}
        log = logs / task.log_name
        try:
            if "ASCEND_CACHE_PATH" in environment:  # CANN wants the folder to be there
                Path(environment["ASCEND_CACHE_PATH"]).mkdir(parents=True, exist_ok=True)
            with log.open("wb") as file:
                process = subprocess.Popen(
                    task.words,
                    cwd=directory,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=prepare,  # noqa: PLW1509 (no threads)
                )
        except OSError as error:
            raise ClusterError(f"{task.name} cannot be started: {error}") from error
        job.members.append(Member(task.name, process, log))


def next_attempt(logs: Path, name: str = "*") -> Path:
    """Where logs go when another attempt begins: the first of attempt_0, attempt_1, ... after those with `name`."""
    numbers = [int(path.parent.name.removeprefix("attempt_")) for path in logs.glob(f"attempt_*/{name}")]
    return logs / f"attempt_{max(numbers, default=-1) + 1}"


def move_aside(files: Iterable[Path], folder: Path) -> None:
    """Move those of `files` that exist into `folder`."""
    for path in files:
        if path.exists():
            folder.mkdir(exist_ok=True)
            path.rename(folder / path.name)


def tail(log: Path, noise: Sequence[bytes] = (NOISE,)) -> str:
    """The last lines of `log` without `noise`, introduced by its name."""
    lines = [line for line in log.read_bytes().splitlines() if not any(part in line for part in noise)][-_NUM_LINES:]
    shown = "".join(f"\n  {line.decode(errors='replace')[:_LINE_LENGTH]}" for line in lines)
    return f"the last lines of {log}:{shown}" if lines else f"and {log} is empty"


def reason(code: int) -> str:
    """How a process ended."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _show(new_lines: Iterable[bytes], noise: Sequence[bytes]) -> None:
    sys.stderr.buffer.writelines(line for line in new_lines if not any(words in line for words in noise))
    sys.stderr.buffer.flush()
