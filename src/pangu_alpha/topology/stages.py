"""Which layer is computed on which pipeline stage.

The embedding belongs to the first stage; the query layer, the final LayerNorm, the head and the loss to the last. The
other layers are dealt out in order so that the dearest stage is as cheap as it can be. Under the interleaved schedule a
stage holds `num_chunks` separate runs of layers: run v is on stage v mod pp, chunk v div pp.
"""

from __future__ import annotations

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
    costs = [float(layer_flops_per_token(model))] * model.num_layers
    costs[-1] += head_flops_per_token(model)
    sizes = _balanced_runs(costs, parallel.pp * parallel.num_chunks)
    places = [LayerPlace(run % parallel.pp, run // parallel.pp) for run, size in enumerate(sizes) for _ in range(size)]
    return tuple(places)


def _balanced_runs(costs: list[float], num_runs: int) -> list[int]:
    """Lengths of `num_runs` runs of `costs`, none empty, whose largest sum is smallest (then: whose squares are)."""
    total = [0.0]
    for cost in costs:
        total.append(total[-1] + cost)
    # best[end]: (largest sum, sum of squares, lengths) of the runs that cover costs[:end].
    best: dict[int, tuple[float, float, list[int]]] = {0: (0.0, 0.0, [])}
    for _ in range(num_runs):
        longer: dict[int, tuple[float, float, list[int]]] = {}
        for begin, (largest, squares, lengths) in best.items():
            for end in range(begin + 1, len(costs) + 1):
                cost = total[end] - total[begin]
                found = (max(largest, cost), squares + cost * cost, [*lengths, end - begin])
                if end not in longer or found < longer[end]:
                    longer[end] = found
        best = longer
    return best[len(costs)][2]
