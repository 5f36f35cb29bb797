"""What a device does once a step, around its micro-batches: gathers of weights, sums of gradients, the update."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pangu_alpha.config import RunConfig
from pangu_alpha.planner.communication import step_messages
from pangu_alpha.planner.hardware import Hardware
from pangu_alpha.planner.memory import StageState
from pangu_alpha.planner.pricing import message_seconds, update_seconds
from pangu_alpha.topology.mesh import Mesh


@dataclass(frozen=True)
class Once:
    """Seconds of what a stage's device does once a step."""

    gathers: float
    """Of its weights."""
    layer_sums: float
    """Sums over ranks of its layers' gradients."""
    other_sums: float
    """Those of its other parameters' gradients."""
    update: float
    """Optimizer, global norm, the word table's way between the stages."""


def once(config: RunConfig, hardware: Hardware, states: Sequence[StageState]) -> tuple[Once, ...]:
    """That of each stage."""
    mesh = Mesh.of(config.parallel)
    known: dict[object, Once] = {}
    found = []
    for stage, state in enumerate(states):
        key = (stage in (0, len(states) - 1) and stage, state.parameters)
        if key not in known:
            known[key] = _once(config, mesh, hardware, state, stage)
        found.append(known[key])
    return tuple(found)


def _once(config: RunConfig, mesh: Mesh, hardware: Hardware, state: StageState, stage: int) -> Once:
    seconds = _seconds(config, mesh, hardware, state, stage)
    layers = replace(state, parameters=tuple(held for held in state.parameters if held.row.startswith("layer.")))
    layer_sums = _seconds(config, mesh, hardware, layers, stage)["gradients"]
    own = update_seconds(state.num_device_parameters, state.num_device_gradients, hardware)
    # The word table goes to the last stage before its forward pass, its gradient comes back before the update.
    around = own + seconds["update"] + 2 * seconds["pipeline"]
    return Once(seconds["parameters"], layer_sums, seconds["gradients"] - layer_sums, around)


def _seconds(config: RunConfig, mesh: Mesh, hardware: Hardware, state: StageState, stage: int) -> dict[str, float]:
    """Of the messages of each phase."""
    seconds: dict[str, float] = defaultdict(float)
    for message in step_messages(config, state, stage):
        seconds[message.phase] += message_seconds(message, mesh, hardware)
    return seconds


def late_gathers(seconds: Once, forward: Sequence[float], overlap: float) -> float:
    """Seconds of a stage's gathers of weights that no computation hides: they travel beside its first micro-batch.

    Args:
        seconds: of that stage.
        forward: seconds of a forward pass of each of its runs of layers.
        overlap: the share of them beside which weights can travel.
    """
    return max(0.0, seconds.gathers - overlap * sum(forward))


def late_sums(config: RunConfig, state: StageState, seconds: Once, backward: Sequence[float], overlap: float) -> float:
    """Seconds of a stage's sums of gradients after its last backward pass.

    The order in which MindSpore starts its kernels: with one micro-batch and no pipeline, a sum goes as soon as its
    gradient is there. Else gradients are first added up over the micro-batches, and the sums of a run of layers go once
    all its backward passes have ended, on a stream of their own, beside the last passes of the runs before it; those of
    the first run, and so of a stage with one run, after everything. The order does not say when sums of embedding and
    head go: they count as late.

    Args:
        config: the recipe.
        state: of the stage.
        seconds: of the stage.
        backward: seconds of a backward pass of each of its runs of layers.
        overlap: the share of them beside which gradients can travel.
    """
    if not state.keeps_sums:
        return max(0.0, seconds.layer_sums + seconds.other_sums - overlap * sum(backward))
    number = last_round(config.parallel.pp, config.train.num_micro_batches)
    late = 0.0
    for chunk in reversed(range(len(backward))):
        late += seconds.layer_sums * len(state.chunks[chunk]) / state.num_layers
        if chunk:
            late = max(0.0, late - overlap * number * backward[chunk - 1])
    return late + seconds.other_sums


def last_round(pp: int, num_micro_batches: int) -> int:
    """Micro-batches of the last round of `pipeline_order`: so many backward passes of a run of layers follow the last
    one of the run behind it."""
    return pp if num_micro_batches >= 2 * pp + num_micro_batches % pp else num_micro_batches
