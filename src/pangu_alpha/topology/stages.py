"""Which layer is computed on which pipeline stage.

The embedding belongs to the first stage; the query layer, the final LayerNorm, the head and the loss to the last. The
other layers are dealt out in order so that the dearest stage is as cheap as it can be: where only the first stages make
their layers again, they are given fewer. Under the interleaved schedule a stage holds `num_chunks` separate runs of
layers: run v is on stage v mod pp, chunk v div pp.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from pangu_alpha.config import (
    ModelConfig,
    ParallelConfig,
    head_flops_per_token,
    layer_flops_per_token,
    layers_problem,
)
from pangu_alpha.errors import ConfigError


@dataclass(frozen=True)
class LayerPlace:
    """Where one layer is computed."""

    stage: int
    chunk: int


@cache
def place_layers(model: ModelConfig, parallel: ParallelConfig) -> tuple[LayerPlace, ...]:
    """The place of each of the `num_layers` layers, the query layer last.

    Raises:
        ConfigError: there are fewer layers than runs of layers.
    """
    if problem := layers_problem(model, parallel):
        raise ConfigError(problem)
    runs = [run % parallel.pp for run in range(parallel.pp * parallel.num_chunks)]
    layer = layer_flops_per_token(model)
    costs = [_passes(parallel, stage) * layer for stage in runs]
    sizes = _balanced_runs(model.num_layers, costs, 3 * head_flops_per_token(model))
    return tuple(
        LayerPlace(stage, run // parallel.pp)
        for run, (stage, size) in enumerate(zip(runs, sizes, strict=True))
        for _ in range(size)
    )


def _passes(parallel: ParallelConfig, stage: int) -> int:
    """Forward passes that a layer's work on a stage is worth: its own, two for the backward pass, and where only some
    stages make whole layers again, one for that."""
    is_alone = parallel.rematerialised_stages is not None and parallel.rematerialisation_of(stage) == "whole"
    return 4 if is_alone else 3


def _balanced_runs(num_layers: int, costs: Sequence[int], head: int) -> list[int]:
    """Lengths of runs of layers, none empty: the dearest is as cheap as it can be, then the sum of squares is least,
    then the first ones are shortest.

    Args:
        num_layers: of all runs.
        costs: of a layer of each run.
        head: what the last run costs besides.
    """
    last = len(costs) - 1

    def cost(run: int, size: int) -> int:
        return size * costs[run] + (head if run == last else 0)

    def deal(price: Callable[[int, int], float]) -> list[int]:
        """One layer to each run, each of the others to the run where it is cheapest."""
        sizes = [1] * len(costs)
        for _ in range(num_layers - len(costs)):
            sizes[min(range(len(costs)), key=lambda run: (price(run, sizes[run] + 1), -run))] += 1
        return sizes

    dearest = max(cost(run, size) for run, size in enumerate(deal(cost)))

    def square(run: int, size: int) -> float:
        return cost(run, size) ** 2 - cost(run, size - 1) ** 2 if cost(run, size) <= dearest else math.inf

    return deal(square)
