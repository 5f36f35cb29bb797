"""What each stage, and each device of it, keeps from step to step, from the recipe alone. No MindSpore.

Parameters and the two moments of Adam, float32, and where a step has several micro-batches the sums of the gradients
over them, which the optimizer's sharding does not cut. Activations, gathered weights and copies in the compute type
come on top. The counts are those of the compiled programs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pangu_alpha.config import RunConfig
from pangu_alpha.parallel.parameters import parameter_shapes, row_of, stages_holding
from pangu_alpha.parallel.parts import num_parts
from pangu_alpha.parallel.table import sizes
from pangu_alpha.topology.mesh import Mesh
from pangu_alpha.topology.stages import place_layers

_BYTES = 4


@dataclass(frozen=True)
class StageState:
    """One pipeline stage. The word table is counted on the first and on the last stage: both keep and update it."""

    chunks: tuple[tuple[int, ...], ...]
    """The layers of each run of layers, from 0; the last of all is the query layer."""
    num_parameters: int
    """Parameters of the whole stage, each counted once."""
    num_device_parameters: int
    """Parameters on one device."""
    num_device_gradients: int
    """Elements of the sums of gradients on one device."""

    @property
    def device_bytes(self) -> dict[str, int]:
        """Bytes on one device, by what they are."""
        return {
            "weights": _BYTES * self.num_device_parameters,
            "Adam moments": 2 * _BYTES * self.num_device_parameters,
            "gradient sums": _BYTES * self.num_device_gradients,
        }

    @property
    def num_device_bytes(self) -> int:
        """All of them."""
        return sum(self.device_bytes.values())


def stage_states(config: RunConfig) -> tuple[StageState, ...]:
    """What each stage keeps.

    Raises:
        ConfigError: there are more runs of layers than layers.
    """
    parallel = config.parallel
    places = place_layers(config.model, parallel)
    mesh = Mesh.of(parallel)
    whole, held, gradients = ([0] * parallel.pp for _ in range(3))
    for name, shape in parameter_shapes(config.model, parallel.mp).items():
        for stage in stages_holding(name, places):
            whole[stage] += math.prod(shape)
            held[stage] += math.prod(shape) // num_parts(name, config.model, parallel)
            if config.train.num_micro_batches > 1 or parallel.pp > 1:
                gradients[stage] += math.prod(shape) // math.prod(sizes(row_of(name).cut, mesh))
    return tuple(
        StageState(
            tuple(
                tuple(layer for layer, place in enumerate(places) if (place.stage, place.chunk) == (stage, chunk))
                for chunk in range(parallel.num_chunks)
            ),
            whole[stage],
            held[stage],
            gradients[stage],
        )
        for stage in range(parallel.pp)
    )


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
    if train.batch_size > train.num_micro_batches * parallel.dp:
        ways.append("raise train.num_micro_batches")
    return ", ".join([*ways, "raise parallel.mp or parallel.pp"])
