import pytest

from pangu_alpha.config import ParallelConfig
from pangu_alpha.planner.timeline import TaskTimes, bubble, execute, spans
from pangu_alpha.topology.schedule import Task, pipeline_order, simulate


def times(pp: int, num_chunks: int, send: float = 0.0) -> TaskTimes:
    """Stages and runs of layers that all take another time."""
    forward = tuple(tuple(1.0 + 0.3 * stage + 0.1 * chunk for chunk in range(num_chunks)) for stage in range(pp))
    return TaskTimes(forward, tuple(tuple(2 * item for item in row) for row in forward), send)


@pytest.mark.parametrize(("pp", "num_chunks", "micro"), [(2, 1, 3), (4, 1, 8), (4, 2, 8), (4, 2, 11), (3, 4, 7)])
def test_without_sends_it_is_the_simulated_schedule(pp: int, num_chunks: int, micro: int) -> None:
    schedule = "interleaved" if num_chunks > 1 else "1f1b"
    parallel = ParallelConfig(pp=pp, num_chunks=num_chunks, schedule=schedule)
    own = times(pp, num_chunks)

    def duration(stage: int, task: Task) -> float:
        return (own.forward if task.direction == "forward" else own.backward)[stage][task.chunk]

    timeline = simulate(pipeline_order(parallel, micro), duration)
    ends = execute(parallel, micro, own)
    assert max(ends) == pytest.approx(timeline.duration)
    assert bubble(own, ends, micro) == pytest.approx(timeline.bubble)
    found = {(span.stage, span.task): (span.start, span.end) for span in spans(parallel, micro, own)}
    assert found == {(span.stage, span.task): pytest.approx((span.start, span.end)) for span in timeline.spans}


def test_equal_stages_wait_as_the_formula_says() -> None:
    parallel, micro = ParallelConfig(pp=8), 24
    own = TaskTimes(((1.0,),) * 8, ((2.0,),) * 8, 0.0)
    assert bubble(own, execute(parallel, micro, own), micro) == pytest.approx(7 / (24 + 7))


def test_what_is_sent_comes_later() -> None:
    parallel = ParallelConfig(pp=4)
    # The last micro-batch goes through all stages and comes back: 3 sends each way, on the way of the first one alone.
    assert max(execute(parallel, 4, times(4, 1, send=0.5))) >= max(execute(parallel, 4, times(4, 1))) + 3
