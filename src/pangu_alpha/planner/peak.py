"""The most memory that a device of each pipeline stage needs in a step, and what it is made of. No MindSpore."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pangu_alpha.config import RunConfig
from pangu_alpha.planner.activations import (
    Sizes,
    embedding_kept,
    kept_by_layer,
    layer_weights,
    layer_work,
    loss_work,
    mask_kept,
)
from pangu_alpha.planner.memory import StageState, stage_recipes, stage_states
from pangu_alpha.topology.schedule import Order, Task, pipeline_order

_FLOAT32 = 4


@dataclass(frozen=True)
class Moment:
    """What waits on a stage when one of its backward passes begins."""

    layers: int
    """Layers whose results are there, those of the pass that begins included, over all micro-batches."""
    micro_batches: int
    """Micro-batches that have passed the stage's first run of layers and not come back."""
    is_loss: bool
    """Whether the pass begins at the loss."""

    def is_below(self, other: Moment) -> bool:
        """Whether another moment has as much of everything."""
        return (
            self.layers <= other.layers and self.micro_batches <= other.micro_batches and self.is_loss <= other.is_loss
        )


@dataclass(frozen=True)
class StagePeak:
    """One stage's device at its fullest."""

    bytes_by_part: dict[str, int]

    @property
    def num_bytes(self) -> int:
        """All of it."""
        return sum(self.bytes_by_part.values())


def stage_peaks(config: RunConfig) -> tuple[StagePeak, ...]:
    """The peak of each stage.

    Raises:
        ConfigError: the micro-batches or layers cannot be laid on the stages.
    """
    order = pipeline_order(config.parallel, config.train.num_micro_batches) if config.parallel.pp > 1 else None
    peaks = []
    for stage, (recipe, state) in enumerate(zip(stage_recipes(config), stage_states(config), strict=True)):
        demand = Demand.of(recipe)
        parts = [_parts(recipe, demand, state, stage, moment) for moment in moments(recipe, state, stage, order)]
        parts.append(_update_parts(recipe, demand, state, stage))
        peaks.append(StagePeak(max(parts, key=lambda found: sum(found.values()))))
    return tuple(peaks)


@dataclass(frozen=True)
class Demand:
    """Bytes that a layout's network needs on a device, whatever the stage of those that make the same again."""

    kept: int
    """Of a layer and a micro-batch, between its passes."""
    weights: int
    """A layer's matrices in the compute type."""
    work: int
    """Of one layer in its backward pass, above what it keeps."""
    loss: int
    embedding: int
    """Of a micro-batch."""
    mask: int
    """Of a micro-batch, where its layers share a mask that is kept."""
    table: int
    """A float32 copy of the device's slice of the word table."""
    above: int
    """Of final norm and head, while the last stage's layers are in their backward pass."""
    hidden: int
    """Of a micro-batch: the hidden state that one stage sends to the next."""

    @classmethod
    def of(cls, config: RunConfig) -> Demand:
        """That of a recipe."""
        sizes = Sizes(config)
        kept = kept_by_layer(sizes)
        norm = (_FLOAT32 + sizes.compute_bytes) * sizes.hidden
        is_once = config.train.num_micro_batches == 1 and config.parallel.pp == 1
        return cls(
            kept,
            layer_weights(sizes),
            layer_work(sizes) - kept,
            loss_work(sizes),
            embedding_kept(sizes),
            mask_kept(sizes) if config.parallel.rematerialisation == "selective" else 0,
            _FLOAT32 * sizes.table,
            (_FLOAT32 * sizes.table if is_once else 0)
            + (norm if config.model.final_norm == "before_query_layer" else 0),
            sizes.compute_bytes * sizes.hidden,
        )


def moments(config: RunConfig, state: StageState, stage: int, order: Order | None) -> set[Moment]:
    """The moments of a stage that can be its fullest.

    Without a pipeline, micro-batches follow each other, each to its end.
    """
    is_last = stage == config.parallel.pp - 1
    if order is None:
        return {Moment(state.num_layers, 1, is_last)}
    num_ahead = config.parallel.pp - 1 - stage if config.parallel.num_chunks > 1 else 0
    found = set(_moments(order[stage], state, is_last, num_ahead))
    return {moment for moment in found if not any(moment != other and moment.is_below(other) for other in found)}


def _moments(tasks: Sequence[Task], state: StageState, is_last: bool, num_ahead: int) -> Iterator[Moment]:
    """`num_ahead`: forward passes that begin before the backward pass that stands before them. MindSpore's record shows
    as many as there are stages behind, where runs of layers are interleaved."""
    forwards = [task for task in tasks if task.direction == "forward"]
    layers = micro_batches = num_forwards = 0
    for task in tasks:
        size, is_first = len(state.chunks[task.chunk]), task.chunk == 0
        if task.direction == "forward":
            layers, micro_batches, num_forwards = layers + size, micro_batches + is_first, num_forwards + 1
            continue
        ahead = forwards[num_forwards : num_forwards + num_ahead]
        yield Moment(
            layers + sum(len(state.chunks[other.chunk]) for other in ahead),
            micro_batches + sum(other.chunk == 0 for other in ahead),
            is_last and task.chunk == len(state.chunks) - 1,
        )
        layers, micro_batches = layers - size, micro_batches - is_first


def _parts(config: RunConfig, demand: Demand, state: StageState, stage: int, moment: Moment) -> dict[str, int]:
    """Bytes of a stage's device at a moment, by what they are."""
    is_last = stage == config.parallel.pp - 1
    layer = demand.work + (demand.above if is_last else 0)
    work = max(layer, demand.loss) if moment.is_loss else layer
    return {
        **state.device_bytes,
        "weights in the compute type": demand.weights * _num_weights(config, state, moment),
        "embedding": demand.embedding * moment.micro_batches if stage == 0 else 0,
        "masks": demand.mask * moment.micro_batches,
        "received word table": demand.table * _num_tables(config, is_last),
        "sent to the first stage": demand.hidden * _num_sent_back(config, is_last),
        "kept of micro-batches": demand.kept * moment.layers,
        "head and loss" if work > layer else "one layer's backward pass": work,
    }


def _update_parts(config: RunConfig, demand: Demand, state: StageState, stage: int) -> dict[str, int]:
    """Bytes of a stage's device in the update: the gradients, and a layer's largest while it is scaled; under optimizer
    sharding, whose parts all come at once, twice the largest of all, and the last stage still holds word tables."""
    is_sharded = config.parallel.optimizer_sharding
    scaled = 2 * state.largest_on_device if is_sharded else 4 * config.model.hidden_size**2 // config.parallel.mp
    tables = _num_tables(config, stage == config.parallel.pp - 1) if is_sharded else 0
    return {
        **state.device_bytes,
        "gradients": _FLOAT32 * state.num_device_parameters,
        "scaled gradient": _FLOAT32 * scaled,
        "received word table": demand.table * tables,
    }


def fullest_bytes(config: RunConfig, demand: Demand, state: StageState, stage: int, found: Iterable[Moment]) -> int:
    """Bytes of a stage's device at its fullest, given its moments."""
    in_update = sum(_update_parts(config, demand, state, stage).values())
    return max(in_update, *(num_bytes(config, demand, state, stage, moment) for moment in found))


def num_bytes(config: RunConfig, demand: Demand, state: StageState, stage: int, moment: Moment) -> int:
    """The sum of `_parts`, without making them: a search asks for it a hundred thousand times."""
    is_last = stage == config.parallel.pp - 1
    layer = demand.work + (demand.above if is_last else 0)
    return (
        state.num_device_bytes
        + demand.weights * _num_weights(config, state, moment)
        + (demand.embedding * moment.micro_batches if stage == 0 else 0)
        + demand.mask * moment.micro_batches
        + demand.table * _num_tables(config, is_last)
        + demand.hidden * _num_sent_back(config, is_last)
        + demand.kept * moment.layers
        + (max(layer, demand.loss) if moment.is_loss else layer)
    )


def _num_weights(config: RunConfig, state: StageState, moment: Moment) -> int:
    """Layers whose matrices are there in the compute type: gathered once a step where the optimizer is sharded, else
    made for each pass."""
    if config.parallel.optimizer_sharding:
        return state.num_layers
    if config.parallel.rematerialisation == "whole" and state.keeps_sums:
        return 1
    return moment.layers


def _num_sent_back(config: RunConfig, is_last: bool) -> int:
    """Hidden states that the last stage sends to the first and keeps to the end of the step. MindSpore's record shows
    them where runs of layers are interleaved and micro-batches come in several rounds (not in every such program)."""
    num = config.train.num_micro_batches
    return (config.parallel.num_chunks - 1) * num if is_last and num > config.parallel.pp else 0


def _num_tables(config: RunConfig, is_last: bool) -> int:
    """Copies of the word table beside the stage's own: what it receives, and under optimizer sharding a constant of its
    size that MindSpore makes."""
    if not is_last or config.parallel.pp == 1:
        return 0
    return 2 if config.parallel.optimizer_sharding else 1
