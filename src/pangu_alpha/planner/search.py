"""The search: every layout priced and weighed, the pipelines of the promising ones executed, the rest counted.

Nothing is sampled. Layouts in which only the first stages make something again are weighed where not all stages can
keep everything: where they can, that is faster. A layout's pipeline is left unexecuted only where its least time (the
busiest stage without waiting, and what surrounds the pipeline) is already more than that of the last layout that is
shown, and of one that needs no more memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pangu_alpha.config import RunConfig
from pangu_alpha.planner.hardware import Hardware
from pangu_alpha.planner.memory import StageState, stage_recipes, stage_states
from pangu_alpha.planner.once import Once, once
from pangu_alpha.planner.peak import Demand, Moment, fullest_bytes, moments
from pangu_alpha.planner.space import Layout, layouts, meshes, on_first_stages, refusal
from pangu_alpha.planner.step import Passes, Priced, StepAccount, account, pass_times, price
from pangu_alpha.topology.schedule import pipeline_order
from pangu_alpha.topology.stages import place_layers


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


@dataclass(frozen=True)
class Fitting:
    """A layout that fits, before its pipeline is executed."""

    layout: Layout
    priced: Priced
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
    _states: dict[tuple[object, ...], tuple[StageState, ...]] = field(default_factory=dict)
    _passes: dict[tuple[object, ...], Passes] = field(default_factory=dict)
    _demands: dict[tuple[object, ...], Demand] = field(default_factory=dict)
    _dealt: dict[tuple[object, ...], tuple[int, ...]] = field(default_factory=dict)
    _once: dict[tuple[object, ...], tuple[Once, ...]] = field(default_factory=dict)
    _moments: dict[tuple[object, ...], list[set[Moment]]] = field(default_factory=dict)

    def run(self, advance: Callable[[float], None] = lambda _: None) -> Result:
        """Search; `advance` is told of each mesh."""
        result = Result()
        fitting: list[Fitting] = []
        for mesh in meshes(self.num_devices):
            result.num_meshes += 1
            advance(1)
            if problem := refusal(self.recipe, mesh, self.batch_size):
                name, words = problem
                example = f"dp={mesh.dp} mp={mesh.mp} pp={mesh.pp}: {words}"
                result.refused.setdefault(name, Refused(example=example)).count += 1
                continue
            fitting += self.fitting(mesh, result)
        fitting.sort(key=lambda item: item.priced.least_seconds)
        self._execute(fitting, result)
        return result

    def fitting(self, mesh: Layout, result: Result) -> list[Fitting]:
        """The layouts of a mesh that fit, but for those that make something again on more stages than they have to; all
        are counted in `result`."""
        found: list[Fitting] = []
        full_stages: dict[Layout, list[int]] = {}
        for layout in layouts(self.recipe, mesh, self.batch_size):
            full = self._weigh(layout, result, found)
            if layout.rematerialisation == "none":
                full_stages[layout] = full
            elif full := full_stages[replace(layout, rematerialisation="none")]:
                self._weigh_first_stages(layout, max(full), result, found)
        return found

    def _weigh_first_stages(self, layout: Layout, last_full: int, result: Result, found: list[Fitting]) -> None:
        """The same for the layouts in which only the first stages make again what all do in `layout`.

        Stages that keep everything hold at least as many layers then as where all do, so that the last stage that is
        too full there, `last_full`, has to make it again. More stages than that cost time, unless they change how the
        layers are dealt.
        """
        result.num_layouts += last_full
        result.num_too_large += last_full
        num_not_allowed: dict[tuple[int, ...], int] = {}
        for some in on_first_stages(layout, last_full + 1):
            dealt, before = self._deal(some), result.num_not_allowed
            if dealt in num_not_allowed:
                result.num_layouts += 1
                result.num_not_allowed += num_not_allowed[dealt]
            elif not self._weigh(some, result, found):
                num_not_allowed[dealt] = result.num_not_allowed - before

    def _weigh(self, layout: Layout, result: Result, fitting: list[Fitting]) -> list[int]:
        """Count the layout in `result`, add it to `fitting` if it fits, and give the stages that are too full."""
        result.num_layouts += 1
        config = layout.config(self.recipe, self.batch_size)
        sizes = self.stage_bytes(layout, config)
        most = max(sizes)
        if not self.allows(config):
            result.num_not_allowed += 1
        elif most <= self.memory_bytes:
            fitting.append(Fitting(layout, self.price(layout, config), most, sizes.index(most)))
        else:
            result.num_too_large += 1
            if result.nearest is None or most < result.nearest[1]:
                result.nearest = layout, most, sizes.index(most)
        return [stage for stage, size in enumerate(sizes) if size > self.memory_bytes]

    def _execute(self, fitting: list[Fitting], result: Result) -> None:
        """Execute the pipelines in the order of their least time, but for those that can be neither among the best nor
        the fastest of those with as little memory."""
        found: list[Found] = []
        for item in fitting:
            kept = sorted(found, key=lambda other: other.account.seconds)[: self.num_best]
            least = item.priced.least_seconds
            if len(kept) == self.num_best and least > kept[-1].account.seconds:
                as_fast = [other.num_bytes for other in found if other.account.seconds <= least]
                if item.num_bytes >= min(as_fast, default=item.num_bytes + 1):
                    continue
            priced = item.priced
            found.append(Found(item.layout, priced.config, account(priced), item.num_bytes, item.fullest))
        result.num_executed = len(found)
        found.sort(key=lambda item: (item.account.seconds, item.num_bytes))
        result.best = found[: self.num_best]
        result.front = _front(found)

    def stage_bytes(self, layout: Layout, config: RunConfig) -> list[int]:
        """Bytes of a device of each stage at its fullest."""
        found = []
        states = self.states(layout, config)
        waiting = self._waiting(layout, config, states)
        for stage, (recipe, state) in enumerate(zip(stage_recipes(config), states, strict=True)):
            key = (layout.pp > 1, *_pass_key(layout, recipe))
            if key not in self._demands:
                self._demands[key] = Demand.of(recipe)
            found.append(fullest_bytes(recipe, self._demands[key], state, stage, waiting[stage]))
        return found

    def price(self, layout: Layout, config: RunConfig) -> Priced:
        """Its price, from what other layouts have shown already."""
        states = self.states(layout, config)
        passes = []
        for recipe in stage_recipes(config):
            key = _pass_key(layout, recipe)
            if key not in self._passes:
                self._passes[key] = pass_times(recipe, self.hardware)
            passes.append(self._passes[key])
        stage_key = self._stage_key(layout)
        if stage_key not in self._once:
            self._once[stage_key] = once(config, self.hardware, states)
        return price(config, self.hardware, states, passes, self._once[stage_key])

    def states(self, layout: Layout, config: RunConfig) -> tuple[StageState, ...]:
        """What each stage keeps."""
        key = self._stage_key(layout)
        if key not in self._states:
            self._states[key] = stage_states(config)
        return self._states[key]

    def _waiting(self, layout: Layout, config: RunConfig, states: tuple[StageState, ...]) -> list[set[Moment]]:
        num = layout.num_micro_batches
        if layout.pp > 1:
            # Rounds of pp micro-batches repeat: no later one has more waiting than the first few.
            num = min(num, num % layout.pp + 4 * layout.pp)
        key = (num, layout.num_chunks, self._deal(layout))
        if key not in self._moments:
            order = pipeline_order(config.parallel, num) if layout.pp > 1 else None
            self._moments[key] = [moments(config, state, stage, order) for stage, state in enumerate(states)]
        return self._moments[key]

    def _stage_key(self, layout: Layout) -> tuple[object, ...]:
        """What decides what the stages keep and do once a step."""
        has_sums = layout.pp > 1 or layout.num_micro_batches > 1
        dealt = self._deal(layout)
        return layout.dp, layout.mp, layout.pp, layout.num_chunks, layout.optimizer_sharding, has_sums, dealt

    def _deal(self, layout: Layout) -> tuple[int, ...]:
        """The number of layers of each run."""
        is_whole = layout.rematerialisation == "whole"
        key = (layout.pp, layout.num_chunks, layout.rematerialised_stages if is_whole else None)
        if key not in self._dealt:
            parallel = layout.config(self.recipe, self.batch_size).parallel
            sizes = Counter((place.chunk, place.stage) for place in place_layers(self.recipe.model, parallel))
            self._dealt[key] = tuple(sizes[run] for run in sorted(sizes))
        return self._dealt[key]


def _pass_key(layout: Layout, recipe: RunConfig) -> tuple[object, ...]:
    """What decides how a micro-batch goes through a stage with that recipe."""
    kind = recipe.parallel.rematerialisation
    return layout.dp, layout.mp, layout.num_micro_batches, kind, layout.sequence_parallel


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
    return _found(search, layout, recipe)


def _found(search: Search, layout: Layout, config: RunConfig) -> Found:
    sizes = search.stage_bytes(layout, config)
    most = max(sizes)
    return Found(layout, config, account(search.price(layout, config)), most, sizes.index(most))


def single_changes(recipe: RunConfig, hardware: Hardware, may_be: Callable[[Found], bool]) -> list[Found]:
    """Of the layouts that differ from a recipe's own in one thing, the fastest for each thing, the fastest first.

    A factor that moves from one axis of the mesh to another is one thing.

    Args:
        recipe: with its own layout.
        hardware: the chip.
        may_be: whether a layout is wanted.
    """
    own, batch_size = Layout.of(recipe), recipe.train.batch_size
    search = Search(recipe, recipe.parallel.num_devices, hardware, hardware.memory_bytes, batch_size)
    found: dict[str, Found] = {}
    for mesh in meshes(search.num_devices):
        if refusal(recipe, mesh, batch_size):
            continue
        for whole in layouts(recipe, mesh, batch_size):
            for layout in (whole, *on_first_stages(whole, 1)):
                changes = own.changes(layout)
                if len(changes) != 1:
                    continue
                item = _found(search, layout, layout.config(recipe, batch_size))
                best = found.get(changes[0])
                if may_be(item) and (best is None or item.account.seconds < best.account.seconds):
                    found[changes[0]] = item
    return sorted(found.values(), key=lambda item: item.account.seconds)
