"""The transport between real processes, one rank each, started by `mpirun -n N`."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from pangu_alpha.console import say
from pangu_alpha.emulator.collectives import (
    Exchange,
    Finished,
    Receive,
    Request,
    RunningRank,
    Send,
    advance,
    check_same_call,
    check_tag,
    combine,
    deadlock,
    never_received,
)
from pangu_alpha.errors import EmulatorError, PanguError

T = TypeVar("T")
_POLL = 5e-5
"""Seconds between two looks for messages: there are more processes than cores."""
_NAP = 1e-3
"""The same between steps, where the others may wait for minutes while one compiles or validates."""
_FORWARDING = 1.0
"""Seconds that mpirun is given to pass on a message."""
_LAST_WORDS = 5.0
"""Seconds in which the others can say what they wait for."""


@dataclass(frozen=True)
class _Stuck:
    waits_at: str


class MpiProcesses:
    """This process runs the rank that is its number in MPI's world.

    A failure stops all processes (`MPI_Abort`): MPI would let the others wait for ever.
    """

    def __init__(self, patience: float = 120.0) -> None:
        """Args:
        patience: seconds without a message after which a waiting rank takes the others for stuck.

        Raises:
            EmulatorError: mpi4py or an MPI library is missing.
        """
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise EmulatorError(f"MPI cannot be used: {error}; install mpi4py and an MPI, such as openmpi") from error
        self._any = {"source": MPI.ANY_SOURCE, "tag": MPI.ANY_TAG}
        self._status = MPI.Status()
        self._world = MPI.COMM_WORLD
        self._patience = patience
        self._step = 0
        self._sending: list[Any] = []
        # By step: a process that is ahead sends the next step's messages early.
        self._mail: dict[int, dict[tuple[Any, ...], deque[Any]]] = defaultdict(lambda: defaultdict(deque))
        self._stuck: dict[int, str] = {}

    @property
    def rank(self) -> int:
        """Of this process."""
        return int(self._world.rank)

    @property
    def num_processes(self) -> int:
        """That mpirun started; 1 without it."""
        return int(self._world.size)

    @contextmanager
    def ending_together(self) -> Iterator[None]:
        """End all processes when this one fails in here; `sys.exit` is no failure, all processes have agreed on it."""
        try:
            yield
        except SystemExit:
            raise
        except BaseException as error:
            from mpi4py.run import set_abort_status

            set_abort_status(error.exit_code if isinstance(error, PanguError) else error)
            raise

    def run(self, ranks: Mapping[int, RunningRank[T]]) -> dict[int, T]:
        """See `Transport`; `ranks` is this process's own rank."""
        try:
            request = advance(ranks[self.rank], None)
            while not isinstance(request, Finished):
                request = advance(ranks[self.rank], self._meet(request))
            self._end_step()
        except EmulatorError as error:
            say(f"pangu: {error}")
            # mpirun drops what it has not passed on when it is told to end.
            time.sleep(_FORWARDING)
            self._world.Abort(error.exit_code)
            raise
        return {self.rank: request.result}

    def share(self, values: Mapping[int, T]) -> dict[int, T]:
        """See `Transport`."""
        barrier = self._world.Ibarrier()
        while not barrier.Test():
            time.sleep(_NAP)
        return {rank: value for part in self._world.allgather(dict(values)) for rank, value in part.items()}

    def _meet(self, request: Request) -> Any:
        if isinstance(request, Send):
            self._post(request.destination, request)
            return request.value
        mail = self._mail[self._step]
        if isinstance(request, Receive):
            queue = mail[request.group, request.source]
            self._wait(lambda: bool(queue), str(request))
            message = queue.popleft()
            check_tag(message, request)
            return message.value
        others = [member for member in request.members if member != self.rank]
        for other in others:
            self._post(other, request)
        calls = {self.rank: request}
        for other in others:
            queue = mail[request.group, request.members, other]
            self._wait(lambda queue=queue: bool(queue), request.waits_for([other]))  # type: ignore[misc]
            calls[other] = queue.popleft()
            check_same_call(self.rank, request, other, calls[other])
        results = combine(request, [calls[member].value for member in request.members])
        return results[request.members.index(self.rank)]

    def _post(self, destination: int, message: Request | _Stuck) -> None:
        # Synchronous: done when it has been taken, so that a step knows when nothing is on its way any more.
        self._sending.append(self._world.issend(message, destination, self._step))

    def _drain(self) -> bool:
        """Take what has arrived; whether there was something."""
        if not self._world.iprobe(status=self._status, **self._any):
            return False
        source, step = self._status.source, self._status.tag
        message = self._world.recv(source=source, tag=step)
        if isinstance(message, _Stuck):
            self._stuck[source] = message.waits_at
        elif isinstance(message, Exchange):
            self._mail[step][message.group, message.members, source].append(message)
        else:
            self._mail[step][message.group, source].append(message)
        return True

    def _wait(self, is_ready: Callable[[], bool], waits_at: str) -> None:
        deadline = time.monotonic() + self._patience
        while not is_ready():
            if self._drain():
                deadline = time.monotonic() + self._patience
            elif time.monotonic() > deadline or self._stuck:
                self._give_up(waits_at)
            else:
                time.sleep(_POLL)

    def _give_up(self, waits_at: str) -> None:
        """Tell the others, hear what they wait for, and report all of it."""
        for other in range(self._world.size):
            if other != self.rank:
                self._post(other, _Stuck(waits_at))
        end = time.monotonic() + _LAST_WORDS
        while time.monotonic() < end and len(self._stuck) < self._world.size - 1:
            if not self._drain():
                time.sleep(_POLL)
        raise EmulatorError(deadlock({self.rank: waits_at, **self._stuck}, ()))

    def _end_step(self) -> None:
        self._wait(lambda: all(sending.Test() for sending in self._sending), "the others to take its messages")
        barrier = self._world.Ibarrier()
        self._wait(barrier.Test, "the end of the others' step")
        self._sending.clear()
        left = [message for queue in self._mail.pop(self._step, {}).values() for message in queue]
        if left:
            raise EmulatorError(never_received(left))
        self._step += 1
