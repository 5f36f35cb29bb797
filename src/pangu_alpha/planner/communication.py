"""What a device of each stage sends in a step, in bytes: the collectives that the sharding table implies, with sizes.

Kinds, axes and counts are those of `parallel/implied.py`; a test holds counts and bytes against compiled programs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pangu_alpha.config import RunConfig
from pangu_alpha.parallel.implied import Phase, communication
from pangu_alpha.parallel.parameters import WORD_TABLE
from pangu_alpha.parallel.table import sharding_table
from pangu_alpha.planner.activations import Sizes
from pangu_alpha.planner.memory import StageState
from pangu_alpha.topology.mesh import AXES, Axis, Mesh

_FLOAT32 = 4
_TRANSPOSE = {"AllReduce": "AllReduce", "ReduceScatter": "AllGather", "AllGather": "ReduceScatter"}
Place = str
"""What a message belongs to: `embedding`, `layer`, `head`, or `stage` for what happens once a step."""


@dataclass(frozen=True)
class Message:
    """A collective of a device, or several of one kind."""

    phase: Phase
    kind: str
    axes: tuple[Axis, ...]
    num_bytes: int
    """Of the whole tensor: what is gathered, what is reduced before it is scattered."""
    count: int = 1
    """Messages that `num_bytes` is of, together."""


def network_messages(config: RunConfig) -> dict[Place, tuple[Message, ...]]:
    """Those of one micro-batch in the embedding, in one layer, and above the layers."""
    mesh, sizes = Mesh.of(config.parallel), Sizes(config)
    found: dict[Place, list[Message]] = {"embedding": [], "layer": [], "head": []}
    for name, row in sharding_table(mesh.sequence_parallel).items():
        place = {"first": "embedding", "own": "layer", "last": "head"}[row.stage]
        for kind, all_axes in communication(row, mesh):
            axes = real_axes(all_axes, mesh)
            if axes:
                num_bytes = _network_bytes(name, sizes)
                found[place].append(Message("forward", kind, axes, num_bytes))
                if row.has_gradient:
                    found[place].append(Message("backward", _TRANSPOSE[kind], axes, num_bytes))
    return {place: tuple(messages) for place, messages in found.items()}


def real_axes(axes: tuple[Axis, ...], mesh: Mesh) -> tuple[Axis, ...]:
    """Those along which there is more than one rank, in the mesh's order."""
    return tuple(axis for axis in AXES if axis in axes and mesh.size(axis) > 1)


def _network_bytes(name: str, sizes: Sizes) -> int:
    if name == "embedding.word.gather":
        return _FLOAT32 * sizes.whole_hidden
    if name == "token_loss.total":
        return _FLOAT32
    if name.startswith("token_loss."):
        return _FLOAT32 * sizes.rows
    return sizes.compute_bytes * sizes.whole_hidden


def step_messages(config: RunConfig, state: StageState, stage: int) -> tuple[Message, ...]:
    """What a device of `stage` exchanges once a step: weights, gradients, the word table, the norm."""
    mesh = Mesh.of(config.parallel)
    return tuple(
        Message(phase, kind, axes, num_bytes, count)
        for (phase, kind, axes), (num_bytes, count) in _summed(_once(config, mesh, state, stage)).items()
    )


def _summed(messages: Iterator[Message]) -> dict[tuple[Phase, str, tuple[Axis, ...]], tuple[int, int]]:
    sums: dict[tuple[Phase, str, tuple[Axis, ...]], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for message in messages:
        if message.axes and message.count:
            key = (message.phase, message.kind, message.axes)
            num_bytes, count = sums[key]
            sums[key] = num_bytes + message.num_bytes, count + message.count
    return sums


def _once(config: RunConfig, mesh: Mesh, state: StageState, stage: int) -> Iterator[Message]:
    sizes = Sizes(config)
    is_copy = stage > 0 and not config.parallel.optimizer_sharding
    for held in state.parameters:
        if is_copy and held.row == WORD_TABLE:
            continue  # its gradient goes to the first stage, which adds up the ranks
        whole = math.prod(held.slice_shape)
        copies: tuple[Axis, ...] = tuple(axis for axis in ("dp", "mp") if axis not in held.cut_by)
        if held.is_sharded:
            gathered = sizes.compute_bytes if held.is_cast else _FLOAT32
            times = held.count
            yield Message("parameters", "AllGather", ("dp",), gathered * whole * times, times)
            yield Message("gradients", "ReduceScatter", ("dp",), _FLOAT32 * whole * times, times)
            copies, whole = tuple(axis for axis in copies if axis != "dp"), whole // mesh.dp
        yield Message("gradients", "AllReduce", real_axes(copies, mesh), _FLOAT32 * whole * held.count, held.count)
    if mesh.pp > 1 and stage in (0, mesh.pp - 1):
        yield Message("pipeline", "Send", ("pp",), _FLOAT32 * sizes.table)
    yield Message("update", "AllReduce", real_axes(AXES, mesh), 2 * _FLOAT32)


def all_messages(config: RunConfig, state: StageState, stage: int) -> Iterator[Message]:
    """Everything that a device of `stage` exchanges in a step, micro-batches and their hand-over included."""
    parallel, num = config.parallel, config.train.num_micro_batches
    last = parallel.pp - 1
    times = {"embedding": int(stage == 0), "layer": state.num_layers, "head": int(stage == last)}
    for place, messages in network_messages(config).items():
        for message in messages:
            count = num * times[place]
            yield replace(message, num_bytes=count * message.num_bytes, count=count * message.count)
    yield from step_messages(config, state, stage)
    if last:
        sizes = Sizes(config)
        # Each run of layers hands its result on and a gradient back, but for the first and the last one.
        handed = num * (2 * parallel.num_chunks - (stage == 0) - (stage == last))
        num_bytes = handed * sizes.compute_bytes * sizes.hidden
        yield Message("pipeline", "Send", ("pp",), num_bytes, handed)
        received = sum(_FLOAT32 * sizes.table for held in state.parameters if held.row == WORD_TABLE)
        yield Message("pipeline", "Receive", ("pp",), num_bytes + received, handed + bool(received))
