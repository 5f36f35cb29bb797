"""Who does the tasks: processes of this machine (the standard library's pool), or a Ray cluster.

A task is a function of the corpus's folder and a number, so that it does not matter who does it, or when. One whose
process dies comes back as such and stops no other.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol

from pangu_alpha.corpus.plan_file import read_work
from pangu_alpha.corpus.work import Work
from pangu_alpha.errors import ClusterError, CorpusError

Task = Callable[[Work, int], None]
DIED = "died"
_LOOK_SECONDS = 5.0
"""Between looks at a cluster of which nothing is heard."""
_LOOKS = 3
"""Without an answer, until its head node counts as gone."""


class Engine(Protocol):
    """What the stages ask for."""

    def map(self, function: Task, output: Path, tasks: Sequence[int]) -> Iterator[tuple[int, str]]:
        """Do `tasks` in any order, and yield each at its end, with `DIED` if its process did, else "".

        Raises:
            Exception: of a task; those that have not begun are not begun any more.
        """

    def close(self) -> None:
        """Let the workers go."""


class Processes:
    """Processes of this machine; they stay for all stages."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def map(self, function: Task, output: Path, tasks: Sequence[int]) -> Iterator[tuple[int, str]]:
        """See `Engine`. When a process dies all that are at work count as dead: the pool does not say which it was."""
        waiting = list(reversed(tasks))
        running: dict[Future[None], int] = {}
        try:
            while waiting or running:
                try:
                    while waiting and len(running) < self._workers:
                        running[self._start().submit(do, function, output, waiting[-1])] = waiting[-1]
                        waiting.pop()
                    done = wait(running, return_when=FIRST_COMPLETED).done
                    for future in done:
                        future.result()
                        yield running.pop(future), ""
                except BrokenProcessPool:
                    self.close()
                    yield from ((task, DIED) for task in sorted(running.values()))
                    running = {}
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        if self._pool is not None:
            for process in multiprocessing.active_children():
                process.terminate()
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._workers, context, initializer=_begin, initargs=(os.getpid(),))
        return self._pool


class RayCluster:
    """A Ray cluster whose nodes all see the input and the output folder, under the same paths."""

    def __init__(self, address: str) -> None:
        import ray

        try:
            if address != "auto":  # Ray ends this process when nobody answers
                host, _, port = address.removeprefix("ray://").rpartition(":")
                socket.create_connection((host, int(port)), timeout=10).close()
            ray.init(address=address, logging_level="ERROR", log_to_driver=False)
        except (OSError, ValueError, RuntimeError) as error:
            raise ClusterError(
                f"no Ray cluster at {address!r}: {str(error).splitlines()[0]}. Start it with `ray start --head`"
            ) from error
        self._ray = ray
        self._address = ray.get_runtime_context().gcs_address

    def map(self, function: Task, output: Path, tasks: Sequence[int]) -> Iterator[tuple[int, str]]:
        """See `Engine`."""
        ray = self._ray
        remote = ray.remote(max_retries=0)(do)
        waiting: list[int] = list(reversed(tasks))
        running: dict[Any, int] = {}
        while waiting or running:
            room = 2 * max(1, int(self._ask(ray.cluster_resources).get("CPU", 1)))
            while waiting and len(running) < room:
                task = waiting.pop()
                running[self._ask(remote.remote, function, output, task)] = task
            for reference in self._ask(ray.wait, list(running))[0]:
                task = running.pop(reference)
                try:
                    self._ask(ray.get, reference)
                except (
                    ray.exceptions.WorkerCrashedError,
                    ray.exceptions.OutOfMemoryError,
                    ray.exceptions.NodeDiedError,
                ):
                    yield task, DIED
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from error
                else:
                    yield task, ""

    def close(self) -> None:
        """Leave the cluster."""
        self._ray.shutdown()

    def _ask(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """What Ray answers. Whichever call the loss of the head node meets is not answered for a minute, and then Ray
        ends this process without a sentence: so it is asked in a thread of its own."""
        answer: Future[Any] = Future()
        threading.Thread(target=_answer, args=(answer, call, *arguments), daemon=True).start()
        while not wait([answer], timeout=_LOOK_SECONDS).done:
            self._require_head()
        return answer.result()

    def _require_head(self) -> None:
        host, _, port = self._address.rpartition(":")
        for _ in range(_LOOKS):
            try:
                socket.create_connection((host, int(port)), timeout=_LOOK_SECONDS).close()
                return
            except OSError as error:
                problem = error
                time.sleep(_LOOK_SECONDS)
        raise ClusterError(
            f"the head node of the Ray cluster, {self._address}, is gone: {problem}. Start a cluster again and then "
            "this command, which goes on"
        )


def _answer(answer: Future[Any], call: Callable[..., Any], *arguments: Any) -> None:
    try:
        answer.set_result(call(*arguments))
    except BaseException as error:
        answer.set_exception(error)


def do(function: Task, output: Path, task: int) -> None:
    """Do one task; called in the process of a worker.

    Raises:
        CorpusError: memory ran out, or the disk is full: with the words of a way out.
    """
    try:
        function(read_work(output), task)
    except MemoryError as error:
        raise CorpusError(
            f"not enough memory for a piece of work: give fewer --workers, or smaller limits.piece_bytes ({error})"
        ) from error


def _begin(parent: int) -> None:
    """Prepare a process of the pool: Ctrl-C is its parent's, and it ends when that does, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
