"""What each stage, and each device of it, keeps from step to step, from the recipe alone. No MindSpore.

Parameters and the two moments of Adam, float32, and where a step has several micro-batches the sums of the gradients
over them, which the optimizer's sharding does not cut. Activations, gathered weights and copies in the compute type
come on top. The counts are those of the compiled programs.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import cache, cached_property

from pangu_alpha.config import ModelConfig, ParallelConfig, RunConfig
from pangu_alpha.parallel.parameters import Shape, parameter_names, row_of, stages_holding
from pangu_alpha.parallel.parts import num_parts
from pangu_alpha.parallel.table import row_name, sizes
from pangu_alpha.topology.mesh import AXES, Axis, Mesh
from pangu_alpha.topology.stages import place_layers

_BYTES = 4


@dataclass(frozen=True)
class HeldParameter:
    """A row of the table of parameters, as the devices of one stage hold it: `count` parameters, all alike."""

    row: str
    """Its name there."""
    count: int
    """How many parameters of that row the stage holds."""
    whole_shape: Shape
    """Of one of them, padded."""
    slice_shape: Shape
    """Of what mp leaves of it."""
    cut_by: frozenset[Axis]
    """The axes that cut it, without the optimizer's sharding."""
    num_parts: int
    """In how many parts the stage's ranks hold one of them."""

    @property
    def is_sharded(self) -> bool:
        """Whether the optimizer's sharding cuts it once more."""
        return self.num_parts * math.prod(self.slice_shape) > math.prod(self.whole_shape)

    @property
    def is_cast(self) -> bool:
        """Whether it is used in the compute type: weights and biases of products."""
        return self.row.endswith((".weight", ".bias"))


@dataclass(frozen=True)
class StageState:
    """One pipeline stage. The word table is counted on the first and on the last stage: both keep and update it."""

    chunks: tuple[tuple[int, ...], ...]
    """The layers of each run of layers, from 0; the last of all is the query layer."""
    parameters: tuple[HeldParameter, ...]
    """All that it holds."""
    keeps_sums: bool
    """Whether sums of gradients last from micro-batch to micro-batch."""

    @cached_property
    def num_layers(self) -> int:
        """Of all runs."""
        return sum(map(len, self.chunks))

    @property
    def num_parameters(self) -> int:
        """Parameters of the whole stage, each counted once."""
        return sum(held.count * math.prod(held.whole_shape) for held in self.parameters)

    @cached_property
    def num_device_parameters(self) -> int:
        """Parameters on one device."""
        return sum(held.count * (math.prod(held.whole_shape) // held.num_parts) for held in self.parameters)

    @cached_property
    def num_device_gradients(self) -> int:
        """Elements of the sums of gradients on one device."""
        return sum(held.count * math.prod(held.slice_shape) for held in self.parameters) if self.keeps_sums else 0

    @cached_property
    def largest_on_device(self) -> int:
        """Elements of the largest parameter on one device."""
        return max(math.prod(held.whole_shape) // held.num_parts for held in self.parameters)

    @cached_property
    def device_bytes(self) -> dict[str, int]:
        """Bytes on one device, by what they are."""
        return {
            "weights": _BYTES * self.num_device_parameters,
            "Adam moments": 2 * _BYTES * self.num_device_parameters,
            "gradient sums": _BYTES * self.num_device_gradients,
        }

    @cached_property
    def num_device_bytes(self) -> int:
        """All of them."""
        return sum(self.device_bytes.values())


def stage_states(config: RunConfig) -> tuple[StageState, ...]:
    """What each stage keeps.

    Raises:
        ConfigError: there are more runs of layers than layers.
    """
    parallel = config.parallel
    place = _placing(parallel)
    places = place_layers(config.model, place)
    mesh = Mesh.of(parallel)
    held: list[list[HeldParameter]] = [[] for _ in range(parallel.pp)]
    for (row, name), counts in _counts(config.model, place).items():
        alike = _held(row, name, config, mesh)
        for stage, count in counts.items():
            held[stage].append(replace(alike, count=count))
    keeps_sums = config.train.num_micro_batches > 1 or parallel.pp > 1
    return tuple(
        StageState(
            tuple(
                tuple(layer for layer, place in enumerate(places) if (place.stage, place.chunk) == (stage, chunk))
                for chunk in range(parallel.num_chunks)
            ),
            tuple(held[stage]),
            keeps_sums,
        )
        for stage in range(parallel.pp)
    )


def stage_recipes(config: RunConfig) -> tuple[RunConfig, ...]:
    """The recipe as each stage computes it: those behind `rematerialised_stages` make nothing again."""
    parallel = config.parallel
    if parallel.rematerialised_stages is None:
        return (config,) * parallel.pp
    none = parallel.model_copy(update={"rematerialisation": "none", "rematerialised_stages": None})
    behind = config.model_copy(update={"parallel": none})
    return tuple(config if stage < parallel.rematerialised_stages else behind for stage in range(parallel.pp))


def _held(row: str, name: str, config: RunConfig, mesh: Mesh) -> HeldParameter:
    known = row_of(name)
    whole = known.padded_shape(config.model, mesh.mp)
    cuts = sizes(known.cut, mesh)
    cut_by = frozenset(axis for axis in AXES if any(split == axis or axis in (split or ()) for split in known.cut))
    slice_shape = tuple(size // cut for size, cut in zip(whole, cuts, strict=True))
    return HeldParameter(row, 0, whole, slice_shape, cut_by, num_parts(name, config.model, config.parallel))


def _placing(parallel: ParallelConfig) -> ParallelConfig:
    """The settings that decide where layers are, alone: a search asks for the same ones many times."""
    return ParallelConfig.model_construct(
        pp=parallel.pp,
        num_chunks=parallel.num_chunks,
        rematerialisation="none" if parallel.rematerialised_stages is None else parallel.rematerialisation,
        rematerialised_stages=parallel.rematerialised_stages,
    )


@cache
def _counts(model: ModelConfig, parallel: ParallelConfig) -> dict[tuple[str, str], Counter[int]]:
    """How many parameters of each row the stages hold, under the row and the first parameter of it."""
    places = place_layers(model, parallel)
    names: dict[str, list[str]] = defaultdict(list)
    for name in parameter_names(model):
        names[row_name(name)].append(name)
    return {
        (row, alike[0]): Counter(stage for name in alike for stage in stages_holding(name, places))
        for row, alike in names.items()
    }


def ways_to_less_memory(config: RunConfig) -> str:
    """Settings that lower a device's peak and are not made yet, the cheapest first: words for an error."""
    parallel, train = config.parallel, config.train
    ways = []
    if parallel.dp > 1 and not parallel.optimizer_sharding:
        ways.append("set parallel.optimizer_sharding=true")
    if parallel.mp > 1 and not parallel.sequence_parallel:
        ways.append("set parallel.sequence_parallel=true")
    if parallel.rematerialisation != "whole":
        ways.append("set parallel.rematerialisation=whole")
    if parallel.rematerialised_stages is not None:
        ways.append("raise parallel.rematerialised_stages or leave it out")
    if train.batch_size > train.num_micro_batches * parallel.dp:
        ways.append("raise train.num_micro_batches")
    return ", ".join([*ways, "raise parallel.mp or parallel.pp"])
