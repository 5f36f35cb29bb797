"""The account of one step of a layout on a chip: where its seconds go, and what it makes of the peak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pangu_alpha.config import RunConfig, model_flops_per_token, tokens_per_step
from pangu_alpha.planner.activations import Sizes
from pangu_alpha.planner.communication import Message, network_messages
from pangu_alpha.planner.hardware import Hardware
from pangu_alpha.planner.memory import StageState, stage_recipes, stage_states
from pangu_alpha.planner.once import Once, late_gathers, late_sums, once
from pangu_alpha.planner.operators import Part, num_forwards, operators, step_flops
from pangu_alpha.planner.pricing import Direction, message_seconds, operator_seconds
from pangu_alpha.planner.timeline import TaskTimes, bubble, execute
from pangu_alpha.topology.mesh import Mesh

PARTS: tuple[Part, ...] = ("embedding", "layer", "head")


@dataclass(frozen=True)
class PassTimes:
    """Seconds of one micro-batch in one part of the network."""

    compute: float
    communication: float

    @property
    def seconds(self) -> float:
        """Both, one after the other: a collective inside a layer has nothing to travel beside."""
        return self.compute + self.communication


@dataclass(frozen=True)
class StepAccount:
    """One step."""

    seconds: float
    pipeline_seconds: float
    """Of the micro-batches, from the first start to the last end."""
    parts: dict[str, float]
    """Seconds of the step by what they are spent on, on the stage that is busiest; they add up to `seconds`."""
    bubble: float
    """Share of the pipeline's time, over all stages, in which they wait."""
    tokens_per_second: float
    model_utilisation: float
    """Operations of the network without any that are made again, over what all devices could make (MFU)."""
    hardware_utilisation: float
    """The same with those that are made again (HFU)."""


Passes = Mapping[tuple[Part, Direction], PassTimes]


def pass_times(config: RunConfig, hardware: Hardware) -> Passes:
    """Forward and backward pass of each part of the network, for one micro-batch."""
    mesh, made = Mesh.of(config.parallel), operators(config)
    messages = network_messages(config)
    dtype = config.model.compute_dtype
    times: dict[Direction, int] = {"forward": num_forwards(config), "backward": 1}
    return {
        (part, direction): PassTimes(
            times[direction] * sum(operator_seconds(item, direction, hardware, dtype) for item in made[part]),
            sum(message_seconds(item, mesh, hardware) for item in messages[part] if item.phase == direction),
        )
        for part in PARTS
        for direction in times
    }


def task_times(
    config: RunConfig, hardware: Hardware, states: Sequence[StageState], passes: Sequence[Passes]
) -> TaskTimes:
    """Seconds of each stage's tasks."""
    last = len(states) - 1

    def seconds(direction: Direction) -> tuple[tuple[float, ...], ...]:
        rows = []
        for stage, state in enumerate(states):
            own = passes[stage]
            row = [len(chunk) * own["layer", direction].seconds for chunk in state.chunks]
            row[0] += own["embedding", direction].seconds if stage == 0 else 0.0
            row[-1] += own["head", direction].seconds if stage == last else 0.0
            rows.append(tuple(row))
        return tuple(rows)

    sizes = Sizes(config)
    hidden = Message("pipeline", "Send", ("pp",), sizes.compute_bytes * sizes.hidden)
    send = message_seconds(hidden, Mesh.of(config.parallel), hardware) if last else 0.0
    return TaskTimes(seconds("forward"), seconds("backward"), send)


@dataclass(frozen=True)
class Priced:
    """What a layout's step is made of, before its pipeline is executed."""

    config: RunConfig
    hardware: Hardware
    states: Sequence[StageState]
    passes: Sequence[Passes]
    """Of each stage."""
    times: TaskTimes
    gathers: float
    """Seconds of the weights' gathers that nothing hides, on the stage where they take longest."""
    reductions: float
    """The same of the gradients' sums."""
    update: float
    """Optimizer, global norm and the word table's way between the stages."""

    @property
    def busiest(self) -> int:
        """The stage that computes most."""
        num = self.config.train.num_micro_batches
        return max(range(len(self.states)), key=lambda stage: self.times.busy(stage, num))

    @property
    def least_seconds(self) -> float:
        """No step is shorter: the busiest stage without waiting, and what surrounds the pipeline."""
        stage, num, times = self.busiest, self.config.train.num_micro_batches, self.times
        before = sum(sum(row[:1]) for row in times.forward[:stage])
        after = sum(sum(row[:1]) for row in times.backward[:stage])
        return before + times.busy(stage, num) + after + self.around

    @property
    def around(self) -> float:
        """Seconds before and after the pipeline."""
        return self.gathers + self.reductions + self.update


def price(
    config: RunConfig,
    hardware: Hardware,
    states: Sequence[StageState],
    passes: Sequence[Passes],
    each_once: Sequence[Once],
) -> Priced:
    """Price a layout.

    Args:
        config: the recipe.
        hardware: the chip.
        states: of its stages.
        passes: of each stage, from `pass_times`.
        each_once: from `once`.
    """
    times = task_times(config, hardware, states, passes)
    overlap = hardware.efficiency.overlap
    gathers = reductions = 0.0
    for stage, seconds in enumerate(each_once):
        gathers = max(gathers, late_gathers(seconds, times.forward[stage], overlap))
        reductions = max(reductions, late_sums(config, states[stage], seconds, times.backward[stage], overlap))
    update = max(seconds.update for seconds in each_once)
    return Priced(config, hardware, states, passes, times, gathers, reductions, update)


def price_recipe(config: RunConfig, hardware: Hardware) -> Priced:
    """Price a recipe as it is.

    Raises:
        ConfigError: the layers cannot be laid on the stages, or the chip lacks the compute type.
    """
    states, recipes = stage_states(config), stage_recipes(config)
    kinds = {recipe.parallel.rematerialisation: recipe for recipe in recipes}
    passes = {kind: pass_times(recipe, hardware) for kind, recipe in kinds.items()}
    own = [passes[recipe.parallel.rematerialisation] for recipe in recipes]
    return price(config, hardware, states, own, once(config, hardware, states))


def account(priced: Priced) -> StepAccount:
    """Execute the pipeline of a priced layout.

    Raises:
        ConfigError: fewer micro-batches than stages.
    """
    config, hardware, times = priced.config, priced.hardware, priced.times
    num, parallel = config.train.num_micro_batches, config.parallel
    if parallel.pp > 1:
        ends = execute(parallel, num, times)
    else:
        ends = [times.busy(0, num)]
    seconds = max(ends) + priced.around
    tokens = tokens_per_step(config)
    peak = parallel.num_devices * hardware.peak(config.model.compute_dtype)
    made = parallel.dp * parallel.mp * sum(step_flops(config, priced.states))
    return StepAccount(
        seconds,
        max(ends),
        _parts(priced, max(ends)),
        bubble(times, ends, num),
        tokens / seconds,
        model_flops_per_token(config.model) * tokens / seconds / peak,
        made / seconds / peak,
    )


def _parts(priced: Priced, pipeline: float) -> dict[str, float]:
    """Seconds of the busiest stage's step by what they are spent on."""
    config, stage = priced.config, priced.busiest
    passes = priced.passes[stage]
    num, last = config.train.num_micro_batches, len(priced.states) - 1
    counts: dict[Part, int] = {
        "embedding": stage == 0,
        "layer": priced.states[stage].num_layers,
        "head": stage == last,
    }
    found = {
        f"{direction} {words}": num * sum(counts[part] * getattr(passes[part, direction], words) for part in PARTS)
        for words in ("compute", "communication")
        for direction in ("forward", "backward")
    }
    return {
        "forward compute": found["forward compute"],
        "backward compute": found["backward compute"],
        "mp collectives": found["forward communication"] + found["backward communication"],
        "waiting in the pipeline": pipeline - priced.times.busy(stage, num),
        "weights' gathers": priced.gathers,
        "gradients' sums": priced.reductions,
        "update": priced.update,
    }
