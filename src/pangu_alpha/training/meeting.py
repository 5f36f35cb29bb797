"""How the processes of a job talk to each other on their hosts: rank 0 listens, and the others call it. No MindSpore.

Where it listens stands in a file of the run's folder, which all hosts see. Where they do not share it, the environment
variable PANGU_ALPHA_MEETING=HOST:PORT says it; the launchers set it for jobs of several servers. A process that ends,
or whose host no longer answers, is noticed by the others at the next question, not by a time-out of the device.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import select
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pangu_alpha.errors import ClusterError, TrainingError
from pangu_alpha.files import remove, write_text
from pangu_alpha.reading import read_json, whole_number
from pangu_alpha.run_folder import MEETING
from pangu_alpha.training.workers import Rule, Workers

VARIABLE = "PANGU_ALPHA_MEETING"
"""HOST:PORT on which rank 0 listens."""
PATIENCE = 900.0
"""Seconds until all processes must have met: they start together, but loading MindSpore from a busy disk takes long."""
_HELLO_SECONDS = 5.0
"""For the first words; a caller that says nothing is none of the job's."""
_POLL = 0.1
_NUM_NAMED = 8
"""Missing ranks that are named."""
_LONGEST_HELLO = 1 << 12


@dataclass(frozen=True)
class Place:
    """Where rank 0 listens."""

    hosts: tuple[str, ...]
    """Addresses of its host; one of them can be reached from here."""
    port: int
    key: str
    """Known to the processes of this job alone, or at least to no other job."""


class _Line:
    """What is said and heard between two processes, a line each; a host that loses its power is noticed within two
    minutes."""

    def __init__(self, caller: socket.socket) -> None:
        caller.settimeout(_HELLO_SECONDS)
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4)):
            caller.setsockopt(socket.IPPROTO_TCP, option, value)
        self._caller, self._file = caller, caller.makefile("rwb")
        self._poll = select.poll()
        self._poll.register(caller, select.POLLRDHUP)

    def say(self, what: object) -> None:
        """Send it, as JSON."""
        self._file.write(json.dumps(what).encode() + b"\n")
        self._file.flush()

    def hear(self) -> bytes:
        """The next line; without its end where the other one has none to say."""
        return self._file.readline()

    def hear_within(self, seconds: float) -> bytes:
        """The next line of someone who may not belong here, or what of it has come in time."""
        line, deadline = b"", time.monotonic() + seconds
        while not line.endswith(b"\n") and len(line) < _LONGEST_HELLO and (left := deadline - time.monotonic()) > 0:
            self._caller.settimeout(left)
            byte = self._caller.recv(1)
            if not byte:
                break
            line += byte
        return line

    def keep(self) -> None:
        """From now on wait as long as the other one takes."""
        self._caller.settimeout(None)

    @property
    def is_closed(self) -> bool:
        """Whether the other process has ended, or hung up."""
        return bool(self._poll.poll(0))

    def close(self) -> None:
        """Hang up."""
        with suppress(OSError):  # the other one is gone, and does not get what is left to say
            self._file.close()
        self._caller.close()


class Meeting(Workers):
    """The processes of a job, each on its own; the first of the ranks is the one that the others call."""

    def __init__(
        self,
        output: Path,
        rank: int,
        ranks: tuple[int, ...],
        environment: Mapping[str, str] = os.environ,
        patience: float = PATIENCE,
    ) -> None:
        """Meet the others.

        Args:
            output: folder of the run.
            rank: of this process.
            ranks: of all processes of the job, ascending.
            environment: of this process.
            patience: seconds until all must be there.

        Raises:
            ClusterError: some are not there in time, or the address is wrong or taken.
        """
        self._rank, self._ranks = rank, ranks
        self._lines: dict[int, _Line] = {}
        """Whom this process talks to, by rank."""
        deadline = time.monotonic() + patience
        if rank == ranks[0]:
            self._await_others(output, environment, deadline)
        else:
            self._call_first(output, environment, deadline)

    def decide(self, text: str, rule: Rule) -> str:
        """See `Workers`."""
        first = self._ranks[0]
        if self._rank != first:
            self._say(first, text)
            return self._hear(first)
        texts = {self._rank: text, **{rank: self._hear(rank) for rank in self._lines}}
        decision = rule([texts[rank] for rank in self._ranks])
        for rank in self._lines:
            self._say(rank, decision)
        return decision

    def has_lost(self) -> bool:
        """See `Workers`. Rank 0 knows of all, the others of rank 0."""
        return any(line.is_closed for line in self._lines.values())

    def _await_others(self, output: Path, environment: Mapping[str, str], deadline: float) -> None:
        given = _given_place(output, environment)
        with _listening(0 if given is None else given.port) as door:
            file = output / MEETING
            if given is None:
                place = Place(_addresses(), door.getsockname()[1], secrets.token_hex(16))
                write_text(file, json.dumps(vars(place)))
            else:
                place = given
            try:
                while missing := sorted(set(self._ranks[1:]) - set(self._lines)):
                    self._welcome_one(door, place, deadline, missing)
            finally:
                if given is None:
                    remove(file)

    def _welcome_one(self, door: socket.socket, place: Place, deadline: float, missing: list[int]) -> None:
        door.settimeout(max(0.0, deadline - time.monotonic()) or _POLL)
        try:
            caller, _ = door.accept()
        except TimeoutError:
            if time.monotonic() < deadline:
                return
            named = f"{missing[:_NUM_NAMED]}{' …' if missing[_NUM_NAMED:] else ''}"
            raise ClusterError(
                f"{len(missing)} of {len(self._ranks)} ranks of this job have not come to rank {self._rank}: {named}. "
                f"Look at their logs; if they cannot reach this host, set {VARIABLE}=HOST:PORT on all of them to an "
                "address of it that they can"
            ) from None
        line = _Line(caller)
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):  # a stranger, whatever it has sent
            hello = json.loads(line.hear_within(_HELLO_SECONDS))
            if hello["key"] == place.key and hello["rank"] in self._ranks[1:]:
                line.say(place.key)
                # Where this process has stood still, the caller has given up and calls again: who has heard says so,
                # and has been here even if it ends at once.
                if json.loads(line.hear_within(_HELLO_SECONDS)) == hello["rank"]:
                    with suppress(OSError):
                        line.say(place.key)
                    self._put_through(hello["rank"], line)
                    return
        line.close()

    def _put_through(self, rank: int, line: _Line) -> None:
        if rank in self._lines:
            self._lines[rank].close()
        line.keep()
        self._lines[rank] = line

    def _call_first(self, output: Path, environment: Mapping[str, str], deadline: float) -> None:
        first = self._ranks[0]
        while time.monotonic() < deadline:
            place = _given_place(output, environment) or _written_place(output)
            for host in () if place is None else place.hosts:
                assert place is not None
                with suppress(OSError):
                    line = _Line(socket.create_connection((host, place.port), timeout=_HELLO_SECONDS))
                    if self._is_answered(line, place.key, deadline):
                        self._put_through(first, line)
                        return
                    line.close()
            time.sleep(_POLL)
        raise ClusterError(
            f"rank {self._rank} has not found rank {first}: it does not listen at {VARIABLE} or at what "
            f"{output / MEETING} says. If its log shows no error, the hosts share no folder, or a firewall is between "
            f"them: set output to a folder that all hosts see, or {VARIABLE}=HOST:PORT to an address of its host"
        )

    def _is_answered(self, line: _Line, key: str, deadline: float) -> bool:
        """Whether it is rank 0 of this job that answers, in time, and that has heard that it was heard."""
        answer = json.dumps(key).encode() + b"\n"
        with suppress(OSError):
            line.say({"key": key, "rank": self._rank})
            if line.hear_within(_HELLO_SECONDS) == answer:
                line.say(self._rank)
                return line.hear_within(deadline - time.monotonic()) == answer
        return False

    def _say(self, rank: int, text: str) -> None:
        try:
            self._lines[rank].say(text)
        except OSError as error:
            raise self._gone(rank) from error

    def _hear(self, rank: int) -> str:
        try:
            line = self._lines[rank].hear()
        except OSError as error:
            raise self._gone(rank) from error
        if not line.endswith(b"\n"):
            raise self._gone(rank)
        text: str = json.loads(line)
        return text

    def _gone(self, rank: int) -> TrainingError:
        return TrainingError(
            f"rank {rank} has ended, so that rank {self._rank} cannot go on: see the log of rank {rank}, or "
            "`pangu diagnose`. The same command goes on from the last checkpoint"
        )


def _given_place(output: Path, environment: Mapping[str, str]) -> Place | None:
    text = environment.get(VARIABLE)
    if not text:
        return None
    host, _, port = text.rpartition(":")
    number = whole_number(port)
    if not host or number is None or not 0 < number < 1 << 16:
        raise ClusterError(f"{VARIABLE}={text} is not of the form HOST:PORT, such as 10.0.0.1:8119")
    # Two jobs that were given the same place are told apart by their folders.
    return Place((host.strip("[]"),), number, hashlib.sha256(str(output).encode()).hexdigest())


def _written_place(output: Path) -> Place | None:
    """What rank 0 has written. It may be of an earlier start: then nobody is there who knows its key."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        values = read_json(output / MEETING)
        return Place(tuple(values["hosts"]), values["port"], values["key"])
    return None


def _listening(port: int) -> socket.socket:
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    try:
        return socket.create_server(
            ("", port), family=family, backlog=1 << 12, dualstack_ipv6=family == socket.AF_INET6
        )
    except OSError as error:
        raise ClusterError(
            f"rank 0 cannot listen on port {port}: {error}. Set {VARIABLE}=HOST:PORT to a free port, on all ranks"
        ) from error


def _addresses() -> tuple[str, ...]:
    """By which other hosts, or other processes here, may reach this host; the likeliest first."""

    def candidates() -> Iterator[str]:
        yield from filter(None, [os.environ.get("MS_WORKER_IP")])
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing: asks which of the own addresses leads away from here
            yield probe.getsockname()[0]
        with suppress(OSError):
            yield from socket.gethostbyname_ex(socket.gethostname())[2]
        yield "127.0.0.1"

    return tuple(dict.fromkeys(candidates()))
