"""The order in which each pipeline stage computes its micro-batches, and how long that takes.

1F1B (PipeDream-Flush): a stage computes as many forwards ahead as there are stages behind it, then one backward for
each forward. Interleaved (Megatron-LM; Narayanan et al. 2021): a stage has `num_chunks` runs of layers, and the
micro-batches go through in rounds of pp, so that it soon turns to its next run. Both are one rule here, MindSpore's:
its first round takes the remainder too, and a stage is `num_chunks` - 1 rounds and the stages behind it ahead
(`InterleavedScheduler` under jit_level O0 and O1; under O2 it is further ahead, with the same bubble).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from pangu_alpha.config import ParallelConfig
from pangu_alpha.errors import ConfigError


@dataclass(frozen=True)
class Task:
    """One pass of one micro-batch through one run of layers of a stage."""

    direction: Literal["forward", "backward"]
    micro_batch: int
    chunk: int
    """Which of the stage's runs of layers."""

    def __str__(self) -> str:
        return f"{self.direction} of micro-batch {self.micro_batch}, chunk {self.chunk}"


Order = tuple[tuple[Task, ...], ...]
"""What each stage computes, in order."""
Duration = Callable[[int, Task], float]
"""How long a stage takes for a task, in any unit."""


@dataclass(frozen=True)
class Span:
    """When a stage computes a task."""

    stage: int
    task: Task
    start: float
    end: float


@dataclass(frozen=True)
class Timeline:
    """One optimizer step of all stages."""

    num_stages: int
    spans: tuple[Span, ...]

    @property
    def duration(self) -> float:
        """From the first start to the last end."""
        return max(span.end for span in self.spans)

    @property
    def bubble(self) -> float:
        """Share of all stages' time in which they wait."""
        busy = sum(span.end - span.start for span in self.spans)
        return 1.0 - busy / (self.num_stages * self.duration)


def pipeline_order(parallel: ParallelConfig, num_micro_batches: int) -> Order:
    """What each stage computes in a step under the recipe's schedule.

    Raises:
        ConfigError: fewer micro-batches than stages, which MindSpore refuses.
    """
    pp, num_chunks = parallel.pp, parallel.num_chunks
    if num_micro_batches < pp:
        raise ConfigError(
            f"num_micro_batches({num_micro_batches}) < pp({pp}): MindSpore's pipeline needs a micro-batch for every "
            f"stage. Set train.num_micro_batches to {pp} or more"
        )
    first_round = pp + num_micro_batches % pp
    starts = range(first_round, num_micro_batches, pp)
    rounds = [range(first_round), *(range(start, start + pp) for start in starts)]
    chunks = range(num_chunks)
    forwards = [Task("forward", micro, chunk) for each in rounds for chunk in chunks for micro in each]
    backwards = [Task("backward", micro, chunk) for each in rounds for chunk in reversed(chunks) for micro in each]
    stages = []
    for stage in range(pp):
        num_ahead = (num_chunks - 1) * first_round + pp - 1 - stage
        pairs = zip(forwards[num_ahead:], backwards, strict=False)
        rest = backwards[len(forwards) - num_ahead :]
        stages.append((*forwards[:num_ahead], *chain.from_iterable(pairs), *rest))
    return tuple(stages)


def simulate(order: Order, duration: Duration) -> Timeline:
    """When each task runs if every stage computes in its order as soon as its inputs are there. Sending takes no time.

    Raises:
        ConfigError: the order deadlocks; the message says what each stage waits for.
    """
    pp, num_tasks = len(order), sum(map(len, order))
    last_run = pp * (1 + max(task.chunk for tasks in order for task in tasks)) - 1
    ends: dict[tuple[int, Task], float] = {}
    spans: list[Span] = []
    positions = [0] * pp
    free = [0.0] * pp
    while len(spans) < num_tasks:
        num_before = len(spans)
        for stage, tasks in enumerate(order):
            while positions[stage] < len(tasks):
                task = tasks[positions[stage]]
                needed = _inputs(stage, task, pp, last_run)
                if any(key not in ends for key in needed):
                    break
                start = max([free[stage], *(ends[key] for key in needed)])
                free[stage] = ends[stage, task] = start + duration(stage, task)
                spans.append(Span(stage, task, start, free[stage]))
                positions[stage] += 1
        if len(spans) == num_before:
            raise ConfigError(f"the pipeline's order deadlocks: {_waits(order, positions, ends, last_run)}")
    return Timeline(pp, tuple(spans))


def _inputs(stage: int, task: Task, pp: int, last_run: int) -> list[tuple[int, Task]]:
    """What must have ended before `task` can start, apart from the stage's earlier tasks: (stage, task)."""
    run = task.chunk * pp + stage
    if task.direction == "forward":
        return [_at(run - 1, pp, task)] if run > 0 else []
    own_forward = (stage, Task("forward", task.micro_batch, task.chunk))
    return [own_forward, *([_at(run + 1, pp, task)] if run < last_run else [])]


def _at(run: int, pp: int, task: Task) -> tuple[int, Task]:
    return run % pp, Task(task.direction, task.micro_batch, run // pp)


def _waits(order: Order, positions: Sequence[int], ends: dict[tuple[int, Task], float], last_run: int) -> str:
    waits = []
    for stage, tasks in enumerate(order):
        if positions[stage] < len(tasks):
            task = tasks[positions[stage]]
            needed = _inputs(stage, task, len(order), last_run)
            other, missing = next(key for key in needed if key not in ends)
            waits.append(f"stage {stage} waits with the {task} for the {missing} on stage {other}")
    return "; ".join(waits)
