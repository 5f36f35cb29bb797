import pytest

from pangu_alpha.config import ParallelConfig, load_config
from pangu_alpha.planner.hardware import load_hardware
from pangu_alpha.planner.memory import stage_states
from pangu_alpha.planner.once import Once, last_round, late_sums, once
from pangu_alpha.topology.schedule import Task, pipeline_order

CHIP = load_hardware("910a")


@pytest.mark.parametrize(("pp", "num_chunks", "micro"), [(2, 2, 2), (2, 2, 3), (2, 2, 8), (4, 3, 9), (4, 2, 12)])
def test_so_many_backward_passes_follow_the_last_one_of_the_run_behind(pp: int, num_chunks: int, micro: int) -> None:
    parallel = ParallelConfig(pp=pp, num_chunks=num_chunks, schedule="interleaved")
    for tasks in pipeline_order(parallel, micro):
        ends = [
            max(place for place, task in enumerate(tasks) if (task.direction, task.chunk) == ("backward", chunk))
            for chunk in range(num_chunks)
        ]
        for chunk in range(1, num_chunks):
            between = tasks[ends[chunk] + 1 : ends[chunk - 1] + 1]
            assert [(task.direction, task.chunk) for task in between] == [("backward", chunk - 1)] * last_round(
                pp, micro
            )
        assert tasks[-1] == Task("backward", micro - 1, 0)


def test_sums_of_a_run_go_beside_the_passes_of_the_runs_before_it() -> None:
    config = load_config("200b_2048_fast")
    state = stage_states(config)[0]
    seconds = Once(gathers=0, layer_sums=4.0, other_sums=0.5, update=0)
    nothing_beside = late_sums(config, state, seconds, [0.0] * 4, overlap=0.5)
    assert nothing_beside == pytest.approx(4.5)
    # Three runs of a second each, and 16 passes of 0.1 s of which half can be used: all but the first run's are hidden,
    # up to 0.2 s that each of the three is behind.
    assert late_sums(config, state, seconds, [0.1] * 4, overlap=0.5) == pytest.approx(3 * 0.2 + 1.0 + 0.5)
    assert late_sums(config, state, seconds, [9.0] * 4, overlap=0.5) == pytest.approx(1.5)


def test_with_one_run_nothing_hides_the_sums_of_several_micro_batches() -> None:
    seconds = Once(gathers=0, layer_sums=4.0, other_sums=0.5, update=0)
    for recipe, late in (("200b_2048", 4.5), ("2b6", 0.5)):
        config = load_config(recipe)
        state = stage_states(config)[0]
        assert late_sums(config, state, seconds, [8.0], overlap=0.5) == pytest.approx(late)


def test_the_sums_of_layers_and_of_all_else_are_all_of_them() -> None:
    """The last stage of the 200B network sums its word table too; the middle ones have layers alone."""
    config = load_config("200b_2048_fast")
    states = stage_states(config)
    first, middle, last = (once(config, CHIP, states)[stage] for stage in (0, 1, 15))
    assert 0 < first.layer_sums == middle.layer_sums < last.layer_sums  # the query layer has one table more
    assert 0 == middle.other_sums < last.other_sums < first.other_sums  # the word table; and the one of positions
