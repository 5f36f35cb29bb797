"""Lays the sharding table, the stages, the optimizer's sharding and rematerialisation on the network's Cells."""

from __future__ import annotations

from collections.abc import Iterator

from mindspore import nn
from mindspore.ops import Primitive

from pangu_alpha.config import RunConfig
from pangu_alpha.errors import ConfigError
from pangu_alpha.model import PanguAlpha, PanguAlphaLoss
from pangu_alpha.parallel.parameters import row_of
from pangu_alpha.parallel.table import FOLLOWERS, row_name, sharding_table, sizes
from pangu_alpha.topology.mesh import Mesh
from pangu_alpha.topology.stages import LayerPlace, place_layers


def primitives(loss: PanguAlphaLoss) -> Iterator[tuple[str, Primitive]]:
    """Every primitive of the network and its loss that is split, with its name in the table."""
    for name, primitive in _primitives_of(loss):
        if primitive.name not in FOLLOWERS:
            yield row_name(name), primitive


def shard(loss: PanguAlphaLoss, mesh: Mesh) -> None:
    """Give every primitive its strategy.

    Raises:
        ConfigError: a primitive has no row, or a row no primitive: the table and the network have drifted apart.
    """
    table = sharding_table(mesh.sequence_parallel)
    used = set()
    for name, primitive in primitives(loss):
        if name not in table:
            raise ConfigError(
                f"the sharding table has no row for {name} ({primitive.name}): add it to parallel/table.py"
            )
        used.add(name)
        row = table[name]
        strategy = tuple(sizes(dims, mesh) for dims in row.inputs)
        if row.output is None:
            primitive.shard(strategy)
        else:
            primitive.shard(strategy, out_strategy=(sizes(row.output, mesh),))
    forms = {table[name].gelu for name in used} | {None}
    unused = {name for name, row in table.items() if row.gelu in forms} - used
    if unused:
        raise ConfigError(f"rows of the sharding table without a primitive: {', '.join(sorted(unused))}")


def place_stages(loss: PanguAlphaLoss, config: RunConfig) -> None:
    """Tell every Cell its pipeline stage, and its segment under the interleaved schedule."""
    network, parallel = loss.network, config.parallel
    *places, top = place_layers(config.model, parallel)
    tops = (network.query_layer, network.final_norm, network.head, loss.token_loss)
    cells = [*network.layers, network.embedding, *tops]
    for cell, place in zip(cells, [*places, LayerPlace(0, 0), *[top] * len(tops)], strict=True):
        cell.pipeline_stage = place.stage
        if parallel.schedule == "interleaved":
            cell.pipeline_segment = place.chunk


def rematerialise(loss: PanguAlphaLoss, config: RunConfig) -> None:
    """Mark what the backward pass computes again, on each stage."""
    network, parallel = loss.network, config.parallel
    places = place_layers(config.model, parallel)
    for layer, place in zip((*network.layers, network.query_layer), places, strict=True):
        kind = parallel.rematerialisation_of(place.stage)
        if kind == "whole":
            _rematerialise_all(layer)
        elif kind == "selective":
            _rematerialise_some(layer, parallel.sequence_parallel)


def _rematerialise_all(layer: nn.Cell) -> None:
    # The results of the communication are kept, so that it is not repeated.
    layer.recompute(mp_comm_recompute=False)
    for _, primitive in _primitives_of(layer):
        # MindSpore takes a Reshape for communication too. What it returns would be kept, and what is computed from
        # that would wait for no gradient: all layers would be computed again before the first is needed.
        if primitive.name == "Reshape":
            primitive.add_prim_attr("recompute_comm_op", True)


def _rematerialise_some(layer: nn.Cell, sequence_parallel: bool) -> None:
    table = sharding_table(sequence_parallel)
    for name, primitive in _primitives_of(layer):
        if primitive.name not in FOLLOWERS and table[f"layer.{name}"].is_recomputed:
            primitive.recompute(True)


def exclude_from_optimizer_sharding(network: PanguAlpha) -> None:
    """Tell MindSpore which parameters it must keep whole."""
    for parameter in network.trainable_params():
        if row_of(parameter.name).is_kept_whole:
            parameter.parallel_optimizer = False


def _primitives_of(cell: nn.Cell) -> Iterator[tuple[str, Primitive]]:
    """Every primitive inside `cell` with its name below it."""
    for place, inner in cell.cells_and_names():
        for name, primitive in vars(inner).get("_primitives", {}).items():
            if primitive is not None:
                yield (f"{place}.{name}" if place else name), primitive
