"""One card of a ModelArts job from its start to its end.

All cards of a node are booted at about the same time. What a node does once, one of them does under a lock: fetching
data and the last checkpoints, copying results back. The locks are the kernel's (`flock`): they end with the process
that holds them, and a file that another job has left locks nothing.

Other launchers follow all ranks; here nobody does. So a card that fails leaves a record for the others, on its node and
in the job's storage, and the others end with its name instead of waiting for HCCL's time-out.
"""

from __future__ import annotations

import fcntl
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from pangu_alpha.cluster.launching.environment import Scheduler, worker_environment
from pangu_alpha.cluster.launching.job import KILL, Job, ProcessOrder, ended_with_job, move_aside, next_attempt, start
from pangu_alpha.cluster.launching.plan import PORT, ip_of, scheduler_order
from pangu_alpha.cluster.modelarts.place import Assignment, fetch_results
from pangu_alpha.cluster.modelarts.storage import Mirror, copy_file, copy_folder, join, list_files
from pangu_alpha.cluster.watching.heartbeat import clear_heartbeats
from pangu_alpha.config import RunConfig
from pangu_alpha.console import say, si
from pangu_alpha.errors import ClusterError, TrainingError
from pangu_alpha.files import write_text
from pangu_alpha.reading import read_json, read_text
from pangu_alpha.run_folder import CHECKPOINTS, HEARTBEATS, LOGS

_POLL = 0.5
"""Seconds between looks at a lock, and at the records of failed cards."""
_SHARED_FOLDERS = (CHECKPOINTS, LOGS, HEARTBEATS)
"""What every node adds to the results; all else in `output` is rank 0's."""


@dataclass(frozen=True)
class CardFailure:
    """What a card that failed tells the others."""

    rank: int
    host: str
    what: str
    time: float
    """Seconds since 1970."""


@dataclass
class Boot:
    """What one card does."""

    place: Assignment
    config: RunConfig
    """With `output` in `folder`."""
    command: Sequence[str]
    """What runs as the rank, in `folder`/data."""
    folder: Path
    """The job's on this node."""
    data_url: str | None
    train_url: str | None
    sync_seconds: float
    """Between two copies of the results, and two looks at the failures of other nodes."""
    time_limit: float
    """Seconds that a lock may be waited for."""
    requests: list[int] = field(default_factory=list)
    """Signals for the rank."""
    _failure: CardFailure | None = None
    _leaving: threading.Event = field(default_factory=threading.Event)

    def run(self) -> int:
        """Fetch, train, copy back.

        Returns:
            The rank's exit code; 128 + signal when it was stopped or killed; 1 when another card failed or results
            could not be copied back.

        Raises:
            ClusterError: data cannot be fetched, or a lock is held for too long.
        """
        began = time.time()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._fetch()
        with (self.folder / "running.lock").open("a") as running:
            fcntl.flock(running, fcntl.LOCK_SH)
            mirror = self._mirror()
            code = self._train(mirror, began)
            if mirror is not None:
                # The node's other cards may still be writing their part of the last checkpoint.
                self._lock(running, "for the node's other cards to end")
                if not self._store(mirror.update):
                    return code or 1
        return code

    def _fetch(self) -> None:
        with (self.folder / "fetch.lock").open("a") as lock:
            self._lock(lock, f"for another card of this node to fetch {self.data_url}")
            done = self.folder / "fetched.json"
            wanted = json.dumps([self.data_url, self.train_url])
            # In the job's own folder and written last: it is of no other job, and of no copy that was cut off.
            if done.exists() and read_text(done) == wanted:
                return
            begin = time.monotonic()
            if self.data_url is not None:
                num_bytes = copy_folder(self.data_url, self.folder / "data")
                say(f"{self.data_url}: {si(num_bytes)}B in {time.monotonic() - begin:.1f} s")
            if self.train_url is not None:
                fetch_results(self.train_url, self.config.output, self.place.node_ranks)
            write_text(done, wanted)

    def _lock(self, file: IO[str], why: str) -> None:
        deadline = time.monotonic() + self.time_limit
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ClusterError(
                        f"waited {self.time_limit:.0f} s {why} ({file.name} is locked): raise --time_limit if it needs "
                        "longer, otherwise look at that card's log"
                    ) from None
                time.sleep(_POLL)

    def _mirror(self) -> Mirror | None:
        if self.train_url is None or not self.place.is_first:
            return None
        return Mirror(self.config.output, self.train_url, None if self.place.card.rank == 0 else _SHARED_FOLDERS)

    def _train(self, mirror: Mirror | None, began: float) -> int:
        place, logs = self.place, self.config.output / LOGS
        for folder in (logs, self.folder / "data", self.folder / "failures"):
            folder.mkdir(parents=True, exist_ok=True)
        scheduler = Scheduler(ip_of(place.address_of(0)), PORT)
        num_ranks, ranks = place.table.num_devices, place.node_ranks
        address = ip_of(place.address_of(place.card.rank))
        num_servers = len(place.table.servers)
        environment = worker_environment("ascend", place.card, num_ranks, scheduler, address, num_servers)
        task = ProcessOrder(
            f"rank {place.card.rank}", self.command, environment, ranks.index(place.card.rank), len(ranks)
        )
        tasks = [task] if place.card.rank else [task, scheduler_order(num_ranks, scheduler)]
        record = logs / f"exits_{place.card.rank}.json"
        move_aside([logs / task.log_name, record, ended_with_job(record)], next_attempt(logs, task.log_name))
        clear_heartbeats(self.config.output, [place.card.rank])
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: self.requests.append(number))
        watcher = threading.Thread(target=self._watch_others, args=(mirror, began), daemon=True)
        try:
            with Job(self.requests, record) as job:
                start(tasks, logs, job, self.folder / "data")
                watcher.start()
                job.watch(logs / task.log_name)
        except TrainingError as error:
            return self._explain(error, job)
        finally:
            self._leaving.set()
            watcher.join()
        return 128 + self.requests[0] if self.requests else 0

    def _explain(self, error: TrainingError, job: Job) -> int:
        """Say why the rank ended, tell the other cards, and return the exit code."""
        if self._failure is not None:
            say(f"ended, because on {self._failure.host} {self._failure.what}")
            return 1
        say(str(error))
        if self.requests:
            return 128 + self.requests[0]
        name = f"rank_{self.place.card.rank}.json"
        path = self.folder / "failures" / name
        failure = CardFailure(self.place.card.rank, socket.gethostname(), str(error), time.time())
        write_text(path, json.dumps(asdict(failure), ensure_ascii=False))
        if self.train_url is not None:
            remote = join(self.train_url, f"failures/{name}")
            self._store(lambda: copy_file(str(path), remote))
        code: int = job.members[0].process.returncode
        return code if code > 0 else 128 - code

    def _watch_others(self, mirror: Mirror | None, began: float) -> None:
        """Copy results back from time to time, and end the rank when another card has failed."""
        synced = time.monotonic()
        while not self._leaving.wait(_POLL):
            is_time = mirror is not None and time.monotonic() - synced >= self.sync_seconds
            if is_time:
                self._store(self._fetch_failures)
            paths = (self.folder / "failures").glob("*.json")
            failures = [failure for path in paths if (failure := _read_failure(path)) is not None]
            # Those of an earlier attempt are older than this process.
            new = [item for item in failures if item.time > began and item.rank != self.place.card.rank]
            if new:
                self._failure = min(new, key=lambda item: item.time)
                self.requests.append(KILL)
                return
            if is_time and mirror is not None:
                self._store(mirror.update)
                synced = time.monotonic()

    def _fetch_failures(self) -> None:
        """Get the records of other nodes."""
        assert self.train_url is not None
        url = join(self.train_url, "failures")
        for name in list_files(url):
            copy_file(join(url, name), str(self.folder / "failures" / name))

    def _store(self, action: Callable[[], object]) -> bool:
        """Do something with `train_url`, and tell when it fails: training is worth more than its copies."""
        try:
            action()
        except (ClusterError, FileNotFoundError) as error:
            say(f"{error}. What was to be copied is in {self.config.output}, and is tried again at the next copy")
            return False
        return True


def _read_failure(path: Path) -> CardFailure | None:
    """What another card tells; None when its file is damaged, which must not keep this one from training."""
    try:
        return CardFailure(**read_json(path))
    except (OSError, ValueError, TypeError):
        return None
