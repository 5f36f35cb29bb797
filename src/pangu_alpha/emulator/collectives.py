"""What ranks ask of each other, and the transport that carries it out between ranks of one process.

A running rank is a generator: it yields a request, and is sent the reply. Ranks touch each other in no other way, so
the result does not depend on which runs first.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol, TypeVar

import numpy as np

from pangu_alpha.emulator.dtypes import widen
from pangu_alpha.errors import EmulatorError
from pangu_alpha.program.graph import Array, Node

T = TypeVar("T")


@dataclass(frozen=True)
class Send:
    """Give an array to another rank; goes on at once."""

    node: Node
    group: str
    source: int
    destination: int
    tag: int
    value: Array


@dataclass(frozen=True)
class Receive:
    """Wait for an array from another rank. Messages of a group between two ranks arrive in the order of sending."""

    node: Node
    group: str
    source: int
    destination: int
    tag: int

    def __str__(self) -> str:
        return f"{self.node} for rank {self.source} to send tag {self.tag} in group {self.group}"


@dataclass(frozen=True)
class Exchange:
    """Exchange arrays with all members of a group."""

    node: Node
    group: str
    members: tuple[int, ...]
    settings: tuple[tuple[str, Any], ...]
    """Attributes that decide the result, for example (("op", "sum"),)."""
    value: Array

    @property
    def call(self) -> tuple[Any, ...]:
        """What must be the same on all members."""
        return (self.node.primitive, self.settings, self.value.shape, self.value.dtype)

    def waits_for(self, absent: Iterable[int]) -> str:
        """What a member reports while others have not come."""
        ranks = ", ".join(str(rank) for rank in absent)
        return f"{self.node} for rank {ranks} of group {self.group}, ranks {list(self.members)}"


Request = Send | Receive | Exchange
RunningRank = Generator[Request, Any, T]


class Transport(Protocol):
    """Carries out the requests of the ranks that live in this process."""

    def run(self, ranks: Mapping[int, RunningRank[T]]) -> dict[int, T]:
        """Run the ranks to their ends and return their results.

        Raises:
            EmulatorError: they wait for each other for ever, ask for different collectives, or leave messages behind.
        """

    def share(self, values: Mapping[int, T]) -> dict[int, T]:
        """One value of each rank of this process → those of all ranks."""


def check_same_call(first_rank: int, first: Exchange, rank: int, other: Exchange) -> None:
    """Raise EmulatorError unless two members of a group ask for the same."""
    if first.call != other.call:
        raise EmulatorError(
            f"ranks {first_rank} and {rank} do not match in group {first.group} of ranks {list(first.members)}: "
            f"rank {first_rank} is at {first.node} with {_text(first)}, rank {rank} at {other.node} with {_text(other)}"
        )


def check_tag(sent: Send, wanted: Receive) -> None:
    """Raise EmulatorError unless the message that comes first is the one that is waited for."""
    if sent.tag != wanted.tag:
        raise EmulatorError(
            f"rank {wanted.destination} at {wanted.node} receives tag {wanted.tag} from rank {wanted.source}, which "
            f"sent tag {sent.tag} first, at {sent.node}"
        )


def _text(collective: Exchange) -> str:
    primitive, settings, shape, dtype = collective.call
    options = "".join(f" {name}={value}" for name, value in settings)
    return f"{primitive}{options} of {dtype} {list(shape)}"


def combine(collective: Exchange, values: list[Array]) -> list[Array]:
    """Each member's result, in the order of the group, from each member's value."""
    return _COMBINE[collective.node.primitive](values, **dict(collective.settings))


_REDUCTIONS: dict[str, Callable[[Array, Array], Array]] = {
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


def _reduced(values: list[Array], op: str) -> Array:
    if op not in _REDUCTIONS:
        raise EmulatorError(f"a reduction by {op!r} is not known, only {', '.join(_REDUCTIONS)}")
    return np.asarray(reduce(_REDUCTIONS[op], map(widen, values))).astype(values[0].dtype)


def _all_reduce(values: list[Array], op: str) -> list[Array]:
    return [_reduced(values, op)] * len(values)


def _all_gather(values: list[Array]) -> list[Array]:
    return [np.concatenate(values)] * len(values)


def _reduce_scatter(values: list[Array], op: str) -> list[Array]:
    return np.split(_reduced(values, op), len(values))


def _all_to_all(values: list[Array], split_dim: int, concat_dim: int) -> list[Array]:
    blocks = [np.split(value, len(values), split_dim) for value in values]
    return [np.concatenate(received, concat_dim) for received in zip(*blocks, strict=True)]


def _broadcast(values: list[Array], root_rank: int) -> list[Array]:
    return [values[root_rank]] * len(values)


_COMBINE: dict[str, Callable[..., list[Array]]] = {
    "AllReduce": _all_reduce,
    "AllGather": _all_gather,
    "ReduceScatter": _reduce_scatter,
    "AlltoAll": _all_to_all,
    "Broadcast": _broadcast,
}

COLLECTIVE_SETTINGS: dict[str, tuple[str, ...]] = {
    "AllReduce": ("op",),
    "AllGather": (),
    "ReduceScatter": ("op",),
    "AlltoAll": ("split_dim", "concat_dim"),
    "Broadcast": ("root_rank",),
}
"""The attributes of each collective that decide its result."""


@dataclass(frozen=True)
class Finished:
    """A rank has come to the end of its step."""

    result: Any


class LockStep:
    """All ranks in this process, in rounds: every rank that can go on runs to its next request, then these are met."""

    def run(self, ranks: Mapping[int, RunningRank[T]]) -> dict[int, T]:
        """See `Transport`."""
        results: dict[int, T] = {}
        waiting: dict[int, Receive | Exchange] = {}
        mail: dict[tuple[str, int, int], deque[Send]] = defaultdict(deque)
        replies: dict[int, Any] = dict.fromkeys(ranks)
        while replies:
            for rank, reply in replies.items():
                request = advance(ranks[rank], reply)
                while isinstance(request, Send):
                    mail[request.group, request.source, request.destination].append(request)
                    request = advance(ranks[rank], request.value)
                if isinstance(request, Finished):
                    results[rank] = request.result
                else:
                    waiting[rank] = request
            replies = {**_deliver(waiting, mail), **_complete(waiting)}
            for rank in replies:
                del waiting[rank]
        if waiting:
            raise EmulatorError(
                deadlock({rank: _waits_at(request, waiting) for rank, request in waiting.items()}, results)
            )
        left = [message for queue in mail.values() for message in queue]
        if left:
            raise EmulatorError(never_received(left))
        return results

    def share(self, values: Mapping[int, T]) -> dict[int, T]:
        """See `Transport`."""
        return dict(values)


def deadlock(waiting: Mapping[int, str], finished: Iterable[int]) -> str:
    """The report: who waits at which node for whom."""
    lines = [f"  rank {rank} waits at {request}" for rank, request in sorted(waiting.items())]
    lines += [f"  rank {rank} has finished its step" for rank in sorted(finished)]
    return "the ranks wait for each other and none can go on:\n" + "\n".join(lines)


def _waits_at(request: Receive | Exchange, waiting: Mapping[int, Receive | Exchange]) -> str:
    if isinstance(request, Receive):
        return str(request)
    return request.waits_for(
        member
        for member in request.members
        if getattr(waiting.get(member), "members", None) != request.members
        or getattr(waiting.get(member), "group", None) != request.group
    )


def never_received(messages: Iterable[Send]) -> str:
    """The report on messages that are left at the end of a step."""
    return "\n".join(
        f"rank {message.destination} never receives what rank {message.source} sends it at {message.node}, "
        f"tag {message.tag} in group {message.group}"
        for message in messages
    )


def advance(rank: RunningRank[Any], reply: Any) -> Request | Finished:
    """Let a rank run to its next request, or to its end."""
    try:
        # A program may divide by zero or overflow, as on a device: inf and nan are values.
        with np.errstate(all="ignore"):
            return rank.send(reply)
    except StopIteration as stop:
        return Finished(stop.value)


def _deliver(
    waiting: Mapping[int, Receive | Exchange], mail: Mapping[tuple[str, int, int], deque[Send]]
) -> dict[int, Array]:
    replies = {}
    for rank, request in waiting.items():
        if isinstance(request, Receive):
            queue = mail.get((request.group, request.source, request.destination))
            if queue:
                message = queue.popleft()
                check_tag(message, request)
                replies[rank] = message.value
    return replies


def _complete(waiting: Mapping[int, Receive | Exchange]) -> dict[int, Array]:
    present: dict[tuple[str, tuple[int, ...]], dict[int, Exchange]] = defaultdict(dict)
    for rank, request in waiting.items():
        if isinstance(request, Exchange):
            present[request.group, request.members][rank] = request
    replies: dict[int, Array] = {}
    for (_, members), requests in present.items():
        first_rank, first = next(iter(requests.items()))
        for rank, request in requests.items():
            check_same_call(first_rank, first, rank, request)
        if len(requests) == len(members):
            replies.update(zip(members, combine(first, [requests[rank].value for rank in members]), strict=True))
    return replies
