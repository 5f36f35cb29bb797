"""How long the tasks of a pipeline take, in forward passes of one layer: their operations, and nothing else."""

from __future__ import annotations

from collections import Counter

from pangu_alpha.config import RunConfig, head_flops_per_token, layer_flops_per_token
from pangu_alpha.topology.schedule import Duration, Task
from pangu_alpha.topology.stages import place_layers


def backward_factor(config: RunConfig, stage: int) -> float:
    """A backward pass over a forward pass of a stage: two products for each, and the forward again where whole layers
    are rematerialised."""
    return 3.0 if config.parallel.rematerialisation_of(stage) == "whole" else 2.0


def task_durations(config: RunConfig) -> Duration:
    """The duration of each task of the recipe's pipeline; the head counts as its operations say.

    Raises:
        ConfigError: there are more runs of layers than layers.
    """
    places = place_layers(config.model, config.parallel)
    forwards: Counter[tuple[int, int]] = Counter((place.stage, place.chunk) for place in places)
    head = head_flops_per_token(config.model) / layer_flops_per_token(config.model)
    last = (places[-1].stage, places[-1].chunk)

    def duration(stage: int, task: Task) -> float:
        run = (stage, task.chunk)
        forward = forwards[run] + (head if run == last else 0.0)
        return forward * (1.0 if task.direction == "forward" else backward_factor(config, stage))

    return duration
