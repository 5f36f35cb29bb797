"""Which collectives a rank's program must have in one step, computed from the sharding table and the recipe alone.

- A primitive whose summed dim is split adds up partial results: an AllReduce over the axes that split it, or a
  ReduceScatter where the table says that the result's rows are split by them too.
- Under sequence parallelism rows are gathered before the products that need all of them.
- Each of these comes back in the backward pass as its transpose, but for the maximum, which has no gradient.
- A parameter's gradient is added up over the ranks that hold the same slice; where the optimizer is sharded it is
  reduced and scattered instead, and the parameter gathered before it is used.
- Stages hand over hidden states and their gradients, and the first and the last stage the tied word table.
- The norm of the gradients and the loss are added up over all ranks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal, get_args

from pangu_alpha.config import RunConfig
from pangu_alpha.parallel.parameters import parameter_names, row_of, stages_holding
from pangu_alpha.parallel.parts import cutting_axes
from pangu_alpha.parallel.table import PrimitiveRow, Split, sharding_table
from pangu_alpha.topology.mesh import AXES, Axis, Mesh
from pangu_alpha.topology.stages import LayerPlace, place_layers

Phase = Literal["inputs", "parameters", "forward", "backward", "gradients", "pipeline", "update"]
"""The part of a step that a collective belongs to."""
PHASES: tuple[Phase, ...] = get_args(Phase)
Key = tuple[Phase, str, tuple[Axis, ...], str]
"""Phase of the step, kind, axes, and for the forward pass the place in the table. MindSpore names the nodes of the
backward pass after any operator of the same kind, so they have no place."""

_TRANSPOSE = {"AllReduce": "AllReduce", "ReduceScatter": "AllGather", "AllGather": "ReduceScatter"}


def implied_collectives(config: RunConfig, stage: int) -> Counter[Key]:
    """How often a step of a rank of `stage` executes what."""
    mesh = Mesh.of(config.parallel)
    places = place_layers(config.model, config.parallel)
    counts: Counter[Key] = Counter()
    for key, times in (
        *_of_network(config, mesh, stage, places),
        *_of_parameters(config, mesh, stage, places),
        *_of_stages(config, mesh, stage),
    ):
        phase, kind, axes, place = key
        axes = tuple(axis for axis in AXES if axis in axes and mesh.size(axis) > 1)
        if axes and times:
            counts[phase, kind, axes, place] += times
    return counts


def _of_network(config: RunConfig, mesh: Mesh, stage: int, places: Iterable[LayerPlace]) -> Iterator[tuple[Key, int]]:
    num_runs = {
        "first": stage == 0,
        "own": sum(place.stage == stage for place in places),
        "last": stage == mesh.pp - 1,
    }
    for name, row in sharding_table(mesh.sequence_parallel).items():
        times = config.train.num_micro_batches * num_runs[row.stage]
        place = name.rpartition(".")[0]
        for kind, axes in communication(row, mesh):
            yield ("forward", kind, axes, place), times
            if row.has_gradient:
                yield ("backward", _TRANSPOSE[kind], axes, ""), times


def communication(row: PrimitiveRow, mesh: Mesh) -> Iterator[tuple[str, tuple[Axis, ...]]]:
    """Kind and axes of what a primitive's forward pass exchanges, axes of one rank included."""
    axes = _axes(row.summed)
    if axes:
        rows = _axes(row.output[:1]) if row.output is not None else ()
        yield ("ReduceScatter" if set(axes) <= set(rows) else "AllReduce"), axes
    if mesh.sequence_parallel and row.gathers_rows:
        yield "AllGather", ("mp",)


def _axes(splits: Iterable[Split]) -> tuple[Axis, ...]:
    axes: list[Axis] = []
    for split in splits:
        axes += [] if split is None else [split] if isinstance(split, str) else split
    return tuple(axes)


def _of_parameters(
    config: RunConfig, mesh: Mesh, stage: int, places: tuple[LayerPlace, ...]
) -> Iterator[tuple[Key, int]]:
    for name in parameter_names(config.model):
        holding = stages_holding(name, places)
        if stage not in holding:
            continue
        if stage != holding[0] and not config.parallel.optimizer_sharding:
            # The last stage sends the gradient of its copy of the word table to the first, where the ranks are added
            # up. With optimizer sharding MindSpore adds it up here too, for nothing.
            continue
        cut, sharded = _axes(row_of(name).cut), "dp" in _axes(cutting_axes(name, config.model, config.parallel))
        copies: tuple[Axis, ...] = tuple(axis for axis in ("dp", "mp") if axis not in cut)
        if sharded:
            yield ("parameters", "AllGather", ("dp",), ""), 1
            yield ("gradients", "ReduceScatter", ("dp",), ""), 1
            copies = tuple(axis for axis in copies if axis != "dp")
        yield ("gradients", "AllReduce", copies, ""), 1


def _of_stages(config: RunConfig, mesh: Mesh, stage: int) -> Iterator[tuple[Key, int]]:
    if mesh.pp > 1:
        last_run = mesh.pp * config.parallel.num_chunks - 1
        runs = range(stage, last_run + 1, mesh.pp)
        later = sum(run < last_run for run in runs) * config.train.num_micro_batches
        earlier = sum(run > 0 for run in runs) * config.train.num_micro_batches
        tied = stage in (0, mesh.pp - 1)
        # Forward to later runs and backward to earlier ones; the word table forward, its gradient back.
        yield ("pipeline", "Send", ("pp",), ""), later + earlier + tied
        yield ("pipeline", "Receive", ("pp",), ""), later + earlier + tied
    yield ("update", "AllReduce", AXES, ""), 1
