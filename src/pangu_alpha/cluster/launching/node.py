"""One server's part of a job that another machine leads, started there over ssh (`python -m` with this module).

The first line of stdin is the order, as JSON. Every line after it is the number of a signal to pass on. The end of
stdin means that the leader is gone: the ranks get SIGTERM, save and end. A failure is described on stdout; what rank 0
prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pangu_alpha.cluster.launching.job import KILL, Job, ProcessOrder, ended_with_job, move_aside, start
from pangu_alpha.errors import PanguError
from pangu_alpha.reading import parse_json

GRACE = 600.0
"""Seconds that ranks have to save when the leader is gone, before they are killed."""


@dataclass(frozen=True)
class Order:
    """What one server is to do. The paths are those of that server."""

    directory: str
    """Working directory."""
    environment: dict[str, str]
    """For all tasks."""
    tasks: Sequence[ProcessOrder]
    logs: str
    attempt: str
    """Where logs of an earlier attempt go, when the leader does not see them because the folder is not shared."""
    record: str
    """File that the ends of the processes are written to."""
    shown: str | None
    """Log that is copied to stderr."""

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: bytes) -> Order:
        """The order in `line`."""
        values = parse_json(line.decode())
        return cls(**{**values, "tasks": tuple(ProcessOrder(**task) for task in values["tasks"])})


def main() -> int:
    """Carry out the order. Returns 0, 1 when a process died, 2 when one could not start, 128 + signal when stopped."""
    lines = _lines()
    order = Order.from_json(next(lines))
    requests: list[int] = []
    try:
        os.chdir(order.directory)
        os.environ.update(order.environment)
        logs = Path(order.logs)
        logs.mkdir(parents=True, exist_ok=True)
        record = Path(order.record)
        old = [*(logs / task.log_name for task in order.tasks), record, ended_with_job(record)]
        move_aside(old, Path(order.attempt))
        with Job(requests, record) as job:
            start(order.tasks, logs, job)
            # Only now: a process that is forked beside a thread may inherit a lock that nobody opens.
            threading.Thread(target=_listen, args=(lines, requests), daemon=True).start()
            job.watch(Path(order.shown) if order.shown else None)
    except (PanguError, OSError) as error:
        print(error, flush=True)
        return error.exit_code if isinstance(error, PanguError) else 2
    return 128 + requests[0] if requests else 0


def _listen(lines: Iterator[bytes], requests: list[int]) -> None:
    for line in lines:
        requests.append(int(line))
    if KILL not in requests:
        requests.append(signal.SIGTERM)
        time.sleep(GRACE)
        requests.append(KILL)


def _lines() -> Iterator[bytes]:
    """Lines of stdin. Not through sys.stdin: a thread that waits in it keeps the interpreter from ending."""
    rest = b""
    while chunk := os.read(0, 1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


if __name__ == "__main__":
    sys.exit(main())
