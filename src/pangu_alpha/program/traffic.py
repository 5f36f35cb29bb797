"""What a rank's exported program sends and receives in a step: every collective, over which axis, how often.

A node is counted as often as the step executes it: the network's graph is called once a micro-batch.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pangu_alpha.parallel.implied import Key, Phase
from pangu_alpha.parallel.table import row_name, sharding_table
from pangu_alpha.program.flow import Computation, Flow, Frame
from pangu_alpha.program.graph import Node, Program, TensorType, ValueType, groups_of, members_of
from pangu_alpha.topology.mesh import AXES, Axis, Mesh

KINDS = frozenset(
    {
        *("AllGather", "AllReduce", "AllSwap", "AlltoAll", "AlltoAllV", "Broadcast"),
        *("NeighborExchange", "NeighborExchangeV2", "Receive", "ReduceScatter", "Send"),
    }
)
"""Primitives that communicate."""

_OUTERMOST = frozenset(name.partition(".")[0] for name in sharding_table(sequence_parallel=False))
"""What the table's rows begin with: the network's and the loss's outermost Cells."""


@dataclass(frozen=True)
class Collective:
    """A node of a program that communicates."""

    kind: str
    phase: Phase
    axes: tuple[Axis, ...] | None
    """Along which the members of its group differ; None when the group is none of the mesh's."""
    members: tuple[int, ...]
    place: str
    """The Cell of the network it stands in, as the sharding table names it; empty outside the network."""
    num_bytes: int
    """Bytes of the whole tensor: what is gathered, what is reduced before it is scattered."""
    count: int
    """Executions a step."""
    scope: str
    """MindSpore's name of the node."""

    @property
    def key(self) -> Key | None:
        """Under which it is implied; None when its group is none of the mesh's."""
        if self.axes is None:
            return None
        return self.phase, self.kind, self.axes, self.place if self.phase == "forward" else ""

    @property
    def axis_name(self) -> str:
        """For people: `mp`, `dp × mp`, or the ranks of a group that the mesh does not have."""
        return axis_name(self.axes) if self.axes is not None else f"ranks {list(self.members)}"


def axis_name(axes: tuple[Axis, ...]) -> str:
    """`mp`, `dp × mp`, or `one rank`."""
    return " × ".join(axes) or "one rank"


def collectives(program: Program, mesh: Mesh, rank: int) -> list[Collective]:
    """Every collective that `rank`'s program executes, in no particular order."""
    groups = groups_of(program, mesh.num_ranks)
    counts = executions(program)
    producers = {node.output: node for node in program.nodes()}
    return [
        _collective(node, counts[node.output], groups, producers, program, mesh, rank)
        for node in program.nodes()
        if node.primitive in KINDS and counts[node.output]
    ]


def num_nodes(program: Program) -> int:
    """Nodes of all graphs of a program, constants not counted."""
    return sum(1 for _ in program.nodes())


def _collective(
    node: Node,
    count: int,
    groups: Mapping[str, tuple[int, ...]],
    producers: Mapping[str, Node],
    program: Program,
    mesh: Mesh,
    rank: int,
) -> Collective:
    members = members_of(node, groups)
    if node.primitive in ("Send", "Receive"):
        peer = node.attributes["dest_rank" if node.primitive == "Send" else "src_rank"]
        members = tuple(sorted((rank, members[peer])))
        axes: tuple[Axis, ...] | None = ("pp",) if members[0] in mesh.group("pp", members[1]) else None
    else:
        axes = axes_of(members, mesh, rank)
    num_bytes = _num_bytes(node.output_type)
    if node.primitive == "ReduceScatter":
        num_bytes *= len(members)
    place = _place(node.scope)
    return Collective(
        node.primitive,
        _phase(node, producers, program, place, axes),
        axes,
        members,
        place,
        num_bytes,
        count,
        node.scope,
    )


def axes_of(members: tuple[int, ...], mesh: Mesh, rank: int) -> tuple[Axis, ...] | None:
    """The fewest axes along which `members` are all the ranks that differ from `rank`; None if there are none such."""
    for num_axes in range(len(AXES) + 1):
        for axes in itertools.combinations(AXES, num_axes):
            if sorted(members) == sorted(ranks_along(axes, mesh, rank)):
                return axes
    return None


def ranks_along(axes: tuple[Axis, ...], mesh: Mesh, rank: int) -> tuple[int, ...]:
    """`rank` and all ranks that differ from it only along `axes`."""
    place = mesh.place(rank)
    index = {"pp": place.stage, "dp": place.replica, "mp": place.slice}
    block = mesh.ranks[tuple(slice(None) if axis in axes else index[axis] for axis in AXES)]
    return tuple(int(member) for member in block.reshape(-1))


def _phase(
    node: Node, producers: Mapping[str, Node], program: Program, place: str, axes: tuple[Axis, ...] | None
) -> Phase:
    if node.primitive in ("Send", "Receive"):
        return "pipeline"
    if "micro_inputs" in node.scope:
        return "inputs"
    # Optimizer sharding works over dp. Without micro-batches its nodes stand beside the operator that uses the weight.
    if re.search(r"Grad__(Mirror|Mi\w+Step)", node.scope) or (node.primitive == "ReduceScatter" and axes == ("dp",)):
        return "gradients"
    if node.primitive == "AllGather" and (not place or _is_parameter(node.inputs[0], producers, program)):
        return "parameters"
    if node.scope.startswith("Gradients"):
        return "backward"
    return "forward" if place else "update"


def _is_parameter(name: str, producers: Mapping[str, Node], program: Program) -> bool:
    """Whether a value is a parameter, as it is or converted."""
    while name in producers and producers[name].primitive in ("Cast", "Load", "Depend"):
        name = producers[name].inputs[0]
    return name in program.parameter_names


def _place(scope: str) -> str:
    """`Default/network-Step/…/layers-CellList/3-Layer/attention-Attention/AllReduce-op2` → `layer.attention`."""
    names = [part.partition("-")[0] for part in scope.split("/") if "-op" not in part and "-" in part]
    rows = (row_name(".".join(names[begin:])) for begin in range(len(names)))
    return next((row for row in rows if row.partition(".")[0] in _OUTERMOST), "")


def _num_bytes(kind: Any) -> int:
    if isinstance(kind, tuple):
        return sum(_num_bytes(item) for item in kind)
    return math.prod(kind.shape) * kind.dtype.itemsize if isinstance(kind, TensorType) else 0


def executions(program: Program) -> Counter[str]:
    """How often a step executes each node that does not steer, by the name of its output.

    Raises:
        ProgramError: the program branches on what it computes, so that there is no such number.
    """
    counting = _Counting()
    inputs = [None] * len(program.inputs)
    for _ in Flow(program, counting, rank=0).run(inputs):
        pass
    return counting.counts


class _Counting:
    """The meaning of a program of which only the executions count: closures and tuples move, tensors are nothing."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def step(self, node: Node, inputs: tuple[int, ...], slot: int) -> Computation:
        hollow = _hollow(node.output_type)

        def step(frame: Frame) -> None:
            self.counts[node.output] += 1
            frame[slot] = hollow

        return step

    def fit(self, kind: ValueType) -> Callable[[Any], Any]:
        return lambda value: value

    def constant(self, value: Any) -> Any:
        return value

    def parameter(self, name: str) -> None:
        return None


def _hollow(kind: ValueType) -> Any:
    """A value of that type without its data."""
    return tuple(map(_hollow, kind)) if isinstance(kind, tuple) else None
