from __future__ import annotations

import pytest

from pangu_alpha.config import load_config
from pangu_alpha.parallel.parameters import num_parameters
from pangu_alpha.planner.memory import stage_states, ways_to_less_memory


def test_one_device_keeps_everything() -> None:
    config = load_config("tiny_cpu")
    (state,) = stage_states(config)
    assert state.chunks == ((0, 1, 2, 3),)
    assert state.num_parameters == state.num_device_parameters == num_parameters(config.model)
    assert state.num_device_bytes == 12 * num_parameters(config.model)  # a weight and two moments


def test_200b_by_hand() -> None:
    d, vocabulary, positions = 16384, 40000, 1024
    layer, small = 12 * d * d + 7 * d, 6 * d  # cut over mp; LayerNorms and the biases of row-parallel products are not
    table = vocabulary * d
    states = stage_states(load_config("200b_2048", ["parallel.optimizer_sharding=false"]))
    assert [state.chunks for state in states] == [((4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3),) for i in range(16)]
    assert states[1].num_parameters == 4 * (layer + small)
    assert states[1].num_device_parameters == 4 * (layer // 8 + small)
    assert states[0].num_device_parameters == states[1].num_device_parameters + table // 8 + positions * d
    assert states[15].num_device_parameters == states[0].num_device_parameters + 2 * d
    assert sum(state.num_parameters for state in states) == 206_861_008_896 + table
    assert states[0].num_device_bytes == 16 * states[0].num_device_parameters  # and the sum of the gradients
    sharded = stage_states(load_config("200b_2048", ["parallel.optimizer_sharding=true"]))
    assert sharded[1].num_device_parameters == 4 * (layer // 8 // 16 + small)
    assert sharded[0].num_device_parameters == sharded[1].num_device_parameters + table // 8 + positions * d
    assert sharded[0].num_device_gradients == states[0].num_device_gradients == states[0].num_device_parameters


def test_what_the_compiled_programs_hold() -> None:
    # Counted in the exported programs of ranks 0 and 4: weights and each moment, and `accu_grads`.
    model = "{num_layers: 4, hidden_size: 64, num_heads: 4, vocab_size: 129, seq_length: 32}"
    settings = [f"model={model}", "model.final_norm=before_query_layer", "parallel={dp: 2, mp: 2, pp: 2}"]
    states = stage_states(load_config("tiny_cpu", [*settings, "parallel.optimizer_sharding=true"]))
    assert [(state.num_device_parameters, state.num_device_gradients) for state in states] == [
        (31776, 56576),
        (31904, 56704),
    ]


def test_micro_batches_need_the_sums_of_the_gradients_without_a_pipeline_too() -> None:
    layout = ["model.num_layers=4", "parallel.dp=8", "parallel.mp=1", "train.batch_size=128"]
    (one,) = stage_states(load_config("2b6", layout))
    (two,) = stage_states(load_config("2b6", [*layout, "train.num_micro_batches=2"]))
    assert one.num_device_gradients == 0
    assert two.num_device_gradients == num_parameters(load_config("2b6", layout).model)  # mp 1 cuts nothing
    # As counted in the compiled programs.
    assert [f"{state.num_device_bytes / 2**30:.2f}" for state in (one, two)] == ["1.64", "3.22"]


@pytest.mark.parametrize(
    ("overrides", "ways"),
    [
        (
            [],
            "set parallel.optimizer_sharding=true, set parallel.sequence_parallel=true, set "
            "parallel.rematerialisation=whole, raise train.num_micro_batches, raise parallel.mp or parallel.pp",
        ),
        (
            ["parallel.rematerialisation=selective", "parallel.optimizer_sharding=true"],
            "set parallel.sequence_parallel=true, set parallel.rematerialisation=whole, raise "
            "train.num_micro_batches, raise parallel.mp or parallel.pp",
        ),
        (
            ["parallel.rematerialisation=whole", "parallel.optimizer_sharding=true", "train.num_micro_batches=4"],
            "set parallel.sequence_parallel=true, raise parallel.mp or parallel.pp",
        ),
        (
            [
                *("parallel.pp=2", "parallel.rematerialisation=whole", "parallel.rematerialised_stages=1"),
                *("parallel.optimizer_sharding=true", "train.num_micro_batches=4"),
            ],
            "set parallel.sequence_parallel=true, raise parallel.rematerialised_stages or leave it out, raise "
            "parallel.mp or parallel.pp",
        ),
        (["parallel.mp=1", "parallel.dp=1"], "set parallel.rematerialisation=whole, raise train.num_micro_batches, "
         "raise parallel.mp or parallel.pp"),
    ],
)  # fmt: skip
def test_what_is_set_is_not_advised(overrides: list[str], ways: str) -> None:
    config = load_config("tiny_cpu", ["parallel={dp: 2, mp: 2}", "train.batch_size=8", *overrides])
    assert ways_to_less_memory(config) == ways


def test_interleaved_stages_have_separate_runs() -> None:
    overrides = ["model.num_layers=9", "parallel={pp: 2, schedule: interleaved, num_chunks: 2}"]
    states = stage_states(load_config("tiny_cpu", overrides))
    assert [layer for chunk in range(2) for state in states for layer in state.chunks[chunk]] == list(range(9))
    assert all(run for state in states for run in state.chunks)
