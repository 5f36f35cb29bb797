"""Ranks written by hand, to be run in one process by the tests, or by `mpirun -n 4 python ranks_that_talk.py CASE`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pangu_alpha.emulator.collectives import Exchange, LockStep, Receive, RunningRank, Send, Transport
from pangu_alpha.program.graph import Node

NUM_RANKS = 4
WORLD = tuple(range(NUM_RANKS))
Array = np.ndarray[Any, Any]


def _node(primitive: str, scope: str) -> Node:
    return Node(primitive, scope, (), scope, {}, None)


def collective(kind: str, members: tuple[int, ...], value: Array, scope: str = "layer", **settings: Any) -> Exchange:
    return Exchange(_node(kind, scope), f"group{members}", members, tuple(settings.items()), value)


def send(rank: int, destination: int, tag: int, value: Array, scope: str = "out") -> Send:
    return Send(_node("Send", scope), "world", rank, destination, tag, value)


def receive(rank: int, source: int, tag: int, scope: str = "in") -> Receive:
    return Receive(_node("Receive", scope), "world", source, rank, tag)


def exchange(rank: int) -> RunningRank[list[Any]]:
    """Every kind of request, in groups that cross."""
    value = np.arange(8, dtype=np.float32).reshape(4, 2) + 100 * rank
    pair = (0, 2) if rank in (0, 2) else (1, 3)
    after, before = (rank + 1) % NUM_RANKS, (rank - 1) % NUM_RANKS
    yield send(rank, after, 1, value)
    yield send(rank, after, 2, -value)
    results = [
        (yield collective("AllReduce", WORLD, value, op="sum")),
        (yield collective("AllReduce", pair, value, op="max")),
        (yield receive(rank, before, 1)),
        (yield collective("AllGather", pair, value)),
        (yield collective("ReduceScatter", WORLD, value, op="sum")),
        (yield collective("AlltoAll", pair, value, split_dim=0, concat_dim=1)),
        (yield collective("Broadcast", WORLD, value, root_rank=3)),
        (yield receive(rank, before, 2)),
    ]
    return [result.tolist() for result in results]


def one_is_ahead(rank: int) -> RunningRank[list[Any]]:
    """Rank 0 sends and has finished before the others have begun."""
    if rank == 0:
        yield send(0, 3, 7, np.array([7.0]))
        return []
    if rank == 3:
        return [(yield receive(3, 0, 7)).tolist()]
    return []


def deadlock(rank: int) -> RunningRank[list[Any]]:
    """0 waits for 1, 1 for the pair of 1 and 3, 3 for 0; 2 does not wait."""
    if rank == 0:
        yield receive(0, 1, 5, "layers.0/in")
    elif rank == 1:
        yield collective("AllReduce", (1, 3), np.zeros(2), "layers.1/reduce", op="sum")
    elif rank == 3:
        yield receive(3, 0, 6, "layers.3/in")
    return []


def mismatch(rank: int) -> RunningRank[list[Any]]:
    """Rank 2 gives another shape."""
    yield collective("AllReduce", WORLD, np.zeros(3 if rank == 2 else 2, np.float32), f"rank{rank}/norm", op="sum")
    return []


def wrong_tag(rank: int) -> RunningRank[list[Any]]:
    """Rank 1 expects the second message first."""
    if rank == 0:
        yield send(0, 1, 10, np.zeros(1), "first")
        yield send(0, 1, 11, np.zeros(1), "second")
    elif rank == 1:
        yield receive(1, 0, 11, "layers.1/in")
    return []


def never_received(rank: int) -> RunningRank[list[Any]]:
    """Rank 3 does not take what rank 2 sends."""
    if rank == 2:
        yield send(2, 3, 4, np.zeros(1), "layers.2/out")
    return []


CASES: dict[str, Callable[[int], RunningRank[list[Any]]]] = {
    case.__name__: case for case in (exchange, one_is_ahead, deadlock, mismatch, wrong_tag, never_received)
}


def main(case: str, folder: Path, transport: Transport, ranks: tuple[int, ...]) -> None:
    """Run the case twice, as two steps, and write what each rank got."""
    for step in range(2):
        for rank, result in transport.run({rank: CASES[case](rank) for rank in ranks}).items():
            (folder / f"{case}_{step}_{rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    if sys.argv[3:] == ["one-process"]:
        main(sys.argv[1], Path(sys.argv[2]), LockStep(), WORLD)
    else:
        from pangu_alpha.emulator.mpi import MpiProcesses

        processes = MpiProcesses(patience=1.0 if sys.argv[1] == "deadlock" else 60.0)
        assert processes.share({processes.rank: processes.rank**2}) == {rank: rank**2 for rank in WORLD}
        main(sys.argv[1], Path(sys.argv[2]), processes, (processes.rank,))
