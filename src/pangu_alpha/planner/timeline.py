"""A step's pipeline, executed: each stage does its tasks in the schedule's order as soon as what they need is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pangu_alpha.config import ParallelConfig
from pangu_alpha.topology.schedule import Span, Task, pipeline_order


@dataclass(frozen=True)
class TaskTimes:
    """Seconds of each stage's tasks, by its runs of layers."""

    forward: tuple[tuple[float, ...], ...]
    """[stage][chunk]."""
    backward: tuple[tuple[float, ...], ...]
    send: float
    """From a stage to the next one; beside the computation of both."""

    def busy(self, stage: int, num_micro_batches: int) -> float:
        """Seconds that a stage computes in a step."""
        return num_micro_batches * (sum(self.forward[stage]) + sum(self.backward[stage]))


@dataclass(frozen=True)
class _Plan:
    """All tasks of a step, in an order in which what a task needs comes before it, whatever tasks take."""

    tasks: tuple[tuple[int, Task], ...]
    """Stage and task."""
    stages: list[int]
    durations: list[int]
    """Where each task's seconds are: forward passes by stage and chunk, then backward passes."""
    needed: list[int]
    """Index of the task that another stage does before; the last place, which stands for nothing, without one."""


def execute(parallel: ParallelConfig, num_micro_batches: int, times: TaskTimes) -> list[float]:
    """When each stage has ended its tasks, in seconds from the first start.

    Raises:
        ConfigError: fewer micro-batches than stages.
    """
    return _run(_plan(parallel.pp, parallel.num_chunks, num_micro_batches), times)[1]


def spans(parallel: ParallelConfig, num_micro_batches: int, times: TaskTimes) -> list[Span]:
    """When each stage computes each task.

    Raises:
        ConfigError: fewer micro-batches than stages.
    """
    plan = _plan(parallel.pp, parallel.num_chunks, num_micro_batches)
    ends, _ = _run(plan, times)
    seconds = _flat(times)
    return [
        Span(stage, task, end - seconds[duration], end)
        for (stage, task), duration, end in zip(plan.tasks, plan.durations, ends[:-1], strict=True)
    ]


def _flat(times: TaskTimes) -> list[float]:
    return [seconds for rows in (times.forward, times.backward) for row in rows for seconds in row]


def _run(plan: _Plan, times: TaskTimes) -> tuple[list[float], list[float]]:
    """The end of each task and, behind them, a time before all; the end of each stage."""
    seconds, send = _flat(times), times.send
    ends = [0.0] * len(plan.stages) + [-send]
    free = [0.0] * len(times.forward)
    for index, (stage, duration, needed) in enumerate(zip(plan.stages, plan.durations, plan.needed, strict=True)):
        start, there = free[stage], ends[needed] + send
        free[stage] = ends[index] = (there if there > start else start) + seconds[duration]
    return ends, free


@lru_cache(maxsize=64)
def _plan(pp: int, num_chunks: int, num_micro_batches: int) -> _Plan:
    schedule = "interleaved" if num_chunks > 1 else "1f1b"
    parallel = ParallelConfig.model_construct(pp=pp, num_chunks=num_chunks, schedule=schedule)
    order = pipeline_order(parallel, num_micro_batches)
    num_tasks, num_runs = sum(map(len, order)), pp * num_chunks
    places = [num_tasks] * (2 * num_runs * num_micro_batches)
    """By direction, run of layers and micro-batch: the index of the task, or that of nothing."""
    plan = _Plan((), [], [], [])
    tasks: list[tuple[int, Task]] = []
    positions = [0] * pp
    while len(tasks) < num_tasks:
        for stage, mine in enumerate(order):
            for task in mine[positions[stage] :]:
                is_backward, run = task.direction == "backward", task.chunk * pp + stage
                first = is_backward * num_runs
                other = run + 1 if is_backward else run - 1
                needed = num_tasks
                if 0 <= other < num_runs:
                    needed = places[(first + other) * num_micro_batches + task.micro_batch]
                    if needed == num_tasks:
                        break
                places[(first + run) * num_micro_batches + task.micro_batch] = len(tasks)
                plan.stages.append(stage)
                plan.durations.append(first + stage * num_chunks + task.chunk)
                plan.needed.append(needed)
                tasks.append((stage, task))
                positions[stage] += 1
    return _Plan(tuple(tasks), plan.stages, plan.durations, plan.needed)


def bubble(times: TaskTimes, ends: Sequence[float], num_micro_batches: int) -> float:
    """Share of all stages' time in which they wait."""
    busy = sum(times.busy(stage, num_micro_batches) for stage in range(len(ends)))
    return 1.0 - busy / (len(ends) * max(ends))
