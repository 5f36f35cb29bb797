import pytest

from pangu_alpha.config import load_config
from pangu_alpha.planner.memory import stage_states
from pangu_alpha.planner.peak import Demand, Moment, moments, num_bytes, stage_peaks
from pangu_alpha.topology.schedule import pipeline_order

RECIPE = ["model.num_layers=16", "train.batch_size=64", "parallel={dp: 2, mp: 2, pp: 4, optimizer_sharding: true}"]


@pytest.mark.parametrize("num_micro_batches", [4, 8, 32])
def test_a_stage_has_as_many_micro_batches_in_flight_as_stages_from_it_on(num_micro_batches: int) -> None:
    config = load_config("2b6", [*RECIPE, f"train.num_micro_batches={num_micro_batches}"])
    order = pipeline_order(config.parallel, num_micro_batches)
    for stage, state in enumerate(stage_states(config)):
        (moment,) = moments(config, state, stage, order)
        expected = 4 - stage
        assert moment == Moment(expected * state.num_layers, expected, is_loss=stage == 3)


def test_interleaved_stages_have_begun_more() -> None:
    settings = ["train.num_micro_batches=8", "parallel.schedule=interleaved", "parallel.num_chunks=2"]
    config = load_config("2b6", [*RECIPE, *settings])
    order = pipeline_order(config.parallel, 8)
    states = stage_states(config)
    found = [max(item.layers for item in moments(config, state, stage, order)) for stage, state in enumerate(states)]
    # A round of 4 micro-batches, 3 more, the one that comes back, and 3 that MindSpore begins before: of 2 layers each.
    assert found[0] == (4 + 3 + 1 + 3) * 2


def test_a_peak_is_the_sum_of_its_parts_at_one_moment() -> None:
    config = load_config("2b6", [*RECIPE, "train.num_micro_batches=8"])
    order, demand = pipeline_order(config.parallel, 8), Demand.of(config)
    for stage, (state, peak) in enumerate(zip(stage_states(config), stage_peaks(config), strict=True)):
        (moment,) = moments(config, state, stage, order)
        assert peak.num_bytes == num_bytes(config, demand, state, stage, moment)
        assert peak.num_bytes > state.num_device_bytes


def test_more_micro_batches_of_the_same_size_need_no_more() -> None:
    peaks = [
        stage_peaks(load_config("2b6", [*RECIPE, f"train.num_micro_batches={num}", f"train.batch_size={4 * num}"]))
        for num in (4, 16)
    ]
    assert peaks[0] == peaks[1]
