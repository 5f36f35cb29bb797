"""The search: every layout priced and weighed, the pipelines of the promising ones executed, the rest counted.

Nothing is sampled. A layout's pipeline is left unexecuted only where its least time (the busiest stage without waiting,
and what surrounds the pipeline) is already more than that of the last layout that is shown, and of one that needs no
more memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pangu_alpha.config import RunConfig
from pangu_alpha.planner.hardware import Hardware
from pangu_alpha.planner.memory import StageState, stage_states
from pangu_alpha.planner.once import Once, once
from pangu_alpha.planner.peak import Demand, Moment, fullest_bytes, moments
from pangu_alpha.planner.space import Layout, layouts, meshes, refusal
from pangu_alpha.planner.step import Passes, Priced, StepAccount, account, pass_times, price
from pangu_alpha.topology.schedule import pipeline_order


@dataclass(frozen=True)
class Found:
    """A layout that fits, with its account."""

    layout: Layout
    config: RunConfig
    account: StepAccount
    num_bytes: int
    """Of the fullest stage's device."""
    fullest: int
    """That stage."""


@dataclass
class Refused:
    """Layouts that are none, for one reason."""

    count: int = 0
    example: str = ""


@dataclass
class Result:
    """What a search found."""

    best: list[Found] = field(default_factory=list)
    """The fastest layouts that fit, the fastest first."""
    front: list[Found] = field(default_factory=list)
    """The fastest one for each amount of memory that buys time, the fullest first."""
    refused: dict[str, Refused] = field(default_factory=dict)
    """Meshes that cannot be, by reason."""
    num_meshes: int = 0
    num_layouts: int = 0
    """Layouts of the other meshes."""
    num_not_allowed: int = 0
    """Of these: not searched, for the search was told so."""
    num_too_large: int = 0
    """Of the rest: do not fit."""
    nearest: tuple[Layout, int, int] | None = None
    """Of those that do not fit the smallest: layout, bytes, stage."""
    num_executed: int = 0
    """Of those that fit: pipelines executed; the others are slower even without a bubble."""


@dataclass
class Search:
    """One recipe on one number of devices of one chip."""

    recipe: RunConfig
    num_devices: int
    hardware: Hardware
    memory_bytes: int
    batch_size: int
    num_best: int = 5
    allows: Callable[[RunConfig], bool] = lambda _: True
    """Whether a layout may be proposed."""
    _states: dict[tuple[int, ...], tuple[StageState, ...]] = field(default_factory=dict)
    _passes: dict[tuple[object, ...], Passes] = field(default_factory=dict)
    _once: dict[tuple[object, ...], tuple[Once, ...]] = field(default_factory=dict)
    _moments: dict[tuple[int, ...], list[set[Moment]]] = field(default_factory=dict)

    def run(self, advance: Callable[[float], None] = lambda _: None) -> Result:
        """Search; `advance` is told of each mesh."""
        result = Result()
        fitting: list[tuple[float, int, Layout, Priced, int, int]] = []
        for mesh in meshes(self.num_devices):
            result.num_meshes += 1
            advance(1)
            if problem := refusal(self.recipe, mesh, self.batch_size):
                name, words = problem
                example = f"dp={mesh.dp} mp={mesh.mp} pp={mesh.pp}: {words}"
                result.refused.setdefault(name, Refused(example=example)).count += 1
                continue
            for layout in layouts(self.recipe, mesh, self.batch_size):
                result.num_layouts += 1
                config = layout.config(self.recipe, self.batch_size)
                if not self.allows(config):
                    result.num_not_allowed += 1
                    continue
                most, stage = self.fullest(layout, config)
                if most > self.memory_bytes:
                    result.num_too_large += 1
                    if result.nearest is None or most < result.nearest[1]:
                        result.nearest = layout, most, stage
                    continue
                priced = self.price(layout, config)
                fitting.append((priced.least_seconds, len(fitting), layout, priced, most, stage))
        self._execute(sorted(fitting, key=lambda item: item[:2]), result)
        return result

    def _execute(self, fitting: list[tuple[float, int, Layout, Priced, int, int]], result: Result) -> None:
        """Execute the pipelines in the order of their least time, but for those that can be neither among the best nor
        the fastest of those with as little memory."""
        found: list[Found] = []
        for least, _, layout, priced, most, stage in fitting:
            kept = sorted(found, key=lambda item: item.account.seconds)[: self.num_best]
            if len(kept) == self.num_best and least > kept[-1].account.seconds:
                as_fast = [other.num_bytes for other in found if other.account.seconds <= least]
                if most >= min(as_fast, default=most + 1):
                    continue
            found.append(Found(layout, priced.config, account(priced), most, stage))
        result.num_executed = len(found)
        found.sort(key=lambda item: (item.account.seconds, item.num_bytes))
        result.best = found[: self.num_best]
        result.front = _front(found)

    def fullest(self, layout: Layout, config: RunConfig) -> tuple[int, int]:
        """Bytes of the fullest stage's device, and that stage."""
        demand, states = Demand.of(config), self.states(layout, config)
        waiting = self._waiting(layout, config, states)
        most = [fullest_bytes(config, demand, state, stage, waiting[stage]) for stage, state in enumerate(states)]
        return max(most), most.index(max(most))

    def price(self, layout: Layout, config: RunConfig) -> Priced:
        """Its price, from what other layouts have shown already."""
        states = self.states(layout, config)
        key = (layout.dp, layout.mp, layout.num_micro_batches, layout.rematerialisation, layout.sequence_parallel)
        if key not in self._passes:
            self._passes[key] = pass_times(config, self.hardware)
        stage_key = (
            layout.dp,
            layout.mp,
            layout.pp,
            layout.num_chunks,
            layout.optimizer_sharding,
            states[0].keeps_sums,
        )
        if stage_key not in self._once:
            self._once[stage_key] = once(config, self.hardware, states)
        return price(config, self.hardware, states, self._passes[key], self._once[stage_key])

    def states(self, layout: Layout, config: RunConfig) -> tuple[StageState, ...]:
        """What each stage keeps."""
        has_sums = layout.pp > 1 or layout.num_micro_batches > 1
        key = (layout.dp, layout.mp, layout.pp, layout.num_chunks, layout.optimizer_sharding, has_sums)
        if key not in self._states:
            self._states[key] = stage_states(config)
        return self._states[key]

    def _waiting(self, layout: Layout, config: RunConfig, states: tuple[StageState, ...]) -> list[set[Moment]]:
        num = layout.num_micro_batches
        if layout.pp > 1:
            # Rounds of pp micro-batches repeat: no later one has more waiting than the first few.
            num = min(num, num % layout.pp + 4 * layout.pp)
        key = (layout.pp, layout.num_chunks, num)
        if key not in self._moments:
            order = pipeline_order(config.parallel, num) if layout.pp > 1 else None
            self._moments[key] = [moments(config, state, stage, order) for stage, state in enumerate(states)]
        return self._moments[key]


def _front(found: list[Found]) -> list[Found]:
    """Of layouts in the order of their time, those that need less memory than every faster one."""
    front: list[Found] = []
    for item in found:
        if not front or item.num_bytes < front[-1].num_bytes:
            front.append(item)
    return front


def found_of(recipe: RunConfig, hardware: Hardware) -> Found:
    """A recipe's own layout.

    Raises:
        ConfigError: it cannot be laid out.
    """
    layout = Layout.of(recipe)
    search = Search(recipe, recipe.parallel.num_devices, hardware, hardware.memory_bytes, recipe.train.batch_size)
    most, stage = search.fullest(layout, recipe)
    return Found(layout, recipe, account(search.price(layout, recipe)), most, stage)


def single_changes(recipe: RunConfig, hardware: Hardware) -> list[Found]:
    """The layouts that differ from a recipe's own in one thing, on as many devices, the fastest first.

    A factor that moves from one axis of the mesh to another is one thing.
    """
    own, batch_size = Layout.of(recipe), recipe.train.batch_size
    search = Search(recipe, recipe.parallel.num_devices, hardware, hardware.memory_bytes, batch_size)
    found = []
    for mesh in meshes(search.num_devices):
        if refusal(recipe, mesh, batch_size):
            continue
        for layout in layouts(recipe, mesh, batch_size):
            if own.num_changes(layout) == 1:
                config = layout.config(recipe, batch_size)
                most, stage = search.fullest(layout, config)
                found.append(Found(layout, config, account(search.price(layout, config)), most, stage))
    return sorted(found, key=lambda item: item.account.seconds)
