from __future__ import annotations

from fractions import Fraction

import pytest

from pangu_alpha.config import ParallelConfig
from pangu_alpha.errors import ConfigError
from pangu_alpha.topology.schedule import Task, pipeline_order, simulate


def _parallel(pp: int, num_chunks: int = 1) -> ParallelConfig:
    return ParallelConfig(pp=pp, num_chunks=num_chunks, schedule="interleaved" if num_chunks > 1 else "1f1b")


def _even(_stage: int, task: Task) -> float:
    return 1.0 if task.direction == "forward" else 2.0


@pytest.mark.parametrize("pp", [1, 2, 3, 4, 16])
@pytest.mark.parametrize("num_micro_batches", [16, 17, 32, 63])
def test_the_bubble_of_1f1b(pp: int, num_micro_batches: int) -> None:
    timeline = simulate(pipeline_order(_parallel(pp), num_micro_batches), _even)
    assert timeline.bubble == pytest.approx(Fraction(pp - 1, num_micro_batches + pp - 1), abs=1e-12)
    assert timeline.duration == 3 * (num_micro_batches + pp - 1)


@pytest.mark.parametrize(("pp", "num_chunks"), [(2, 2), (4, 2), (4, 3), (8, 4), (16, 2)])
@pytest.mark.parametrize("num_micro_batches", [16, 17, 23, 64])
def test_the_bubble_of_interleaved(pp: int, num_chunks: int, num_micro_batches: int) -> None:
    timeline = simulate(pipeline_order(_parallel(pp, num_chunks), num_micro_batches), _even)
    assert timeline.bubble == pytest.approx(Fraction(pp - 1, num_chunks * num_micro_batches + pp - 1), abs=1e-12)


def test_fewer_micro_batches_than_stages_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"num_micro_batches\(3\) < pp\(4\)"):
        pipeline_order(_parallel(4), 3)


@pytest.mark.parametrize(("pp", "num_chunks", "num_micro_batches"), [(4, 1, 6), (4, 2, 8), (4, 2, 6), (3, 3, 4)])
def test_every_task_once_on_every_stage_and_never_before_its_inputs(
    pp: int, num_chunks: int, num_micro_batches: int
) -> None:
    order = pipeline_order(_parallel(pp, num_chunks), num_micro_batches)
    for tasks in order:
        assert len(set(tasks)) == len(tasks) == 2 * num_chunks * num_micro_batches
    ends = {(span.stage, span.task): span.end for span in simulate(order, _even).spans}
    for span in simulate(order, _even).spans:
        task, run = span.task, span.task.chunk * pp + span.stage
        before = run - 1 if task.direction == "forward" else run + 1
        if 0 <= before < pp * num_chunks:
            assert span.start >= ends[before % pp, Task(task.direction, task.micro_batch, before // pp)]
        if task.direction == "backward":
            assert span.start >= ends[span.stage, Task("forward", task.micro_batch, task.chunk)]


def test_1f1b_of_two_stages_written_out() -> None:
    f, b = (lambda m: Task("forward", m, 0)), (lambda m: Task("backward", m, 0))
    assert pipeline_order(_parallel(2), 3) == (
        (f(0), f(1), b(0), f(2), b(1), b(2)),
        (f(0), b(0), f(1), b(1), f(2), b(2)),
    )


def test_a_stage_holds_no_more_activations_than_stages_behind_it() -> None:
    for stage, tasks in enumerate(pipeline_order(_parallel(4), 12)):
        held = [sum(1 if task.direction == "forward" else -1 for task in tasks[: i + 1]) for i in range(len(tasks))]
        assert max(held) == 4 - stage


def test_a_slow_stage_sets_the_pace() -> None:
    timeline = simulate(pipeline_order(_parallel(4), 64), lambda stage, task: _even(stage, task) * (1 + (stage == 2)))
    assert timeline.duration == pytest.approx(64 * 6, rel=0.1)
    assert timeline.bubble > 0.3


def test_a_deadlock_is_refused_with_who_waits_for_whom() -> None:
    first, second = pipeline_order(_parallel(2), 2)
    crossed = (first, (second[1], second[0], *second[2:]))
    with pytest.raises(ConfigError) as refusal:
        simulate(crossed, _even)
    assert "stage 1 waits with the backward of micro-batch 0" in str(refusal.value)
    assert "for the forward of micro-batch 0, chunk 0 on stage 1" in str(refusal.value)
