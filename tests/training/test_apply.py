"""Device memory that MindSpore plans for a small step, with and without micro-batches."""

from __future__ import annotations

import pytest

from pangu_alpha.compiler.programs import compile_ranks
from pangu_alpha.config import RunConfig
from pangu_alpha.config.load import build_config
from pangu_alpha.planner.memory import stage_states

NUM_SAMPLES = 4
"""Of a micro-batch, on all ranks."""


def recipe(num_micro_batches: int, mp: int, optimizer_sharding: bool) -> RunConfig:
    """On a device the scores of a layer's attention are more than all weights, and sixteen times the mask: one alone is
    made again by each layer, but where micro-batches follow each other their layers share it (as MindSpore's record of
    allocations has it), which is no growth with their number."""
    return build_config(
        {
            "model": {
                "num_layers": 3, "hidden_size": 32, "num_heads": 16 * mp, "vocab_size": 64, "seq_length": 256,
                "dropout": 0.1, "compute_dtype": "float16", "final_norm": "before_query_layer",
            },
            "train": {
                "steps": 10,
                "batch_size": NUM_SAMPLES * num_micro_batches,
                "num_micro_batches": num_micro_batches,
            },
            "schedule": {"learning_rate": 1e-3, "end_learning_rate": 1e-4, "warmup_steps": 2, "decay_steps": 10},
            "parallel": {"dp": 2, "mp": mp, "optimizer_sharding": optimizer_sharding, "rematerialisation": "whole"},
        },
        [],
    )  # fmt: skip


@pytest.mark.parametrize(("most", "mp", "optimizer_sharding"), [(2, 1, True), (2, 1, False), (2, 2, False)])
def test_micro_batches_cost_the_sums_of_the_gradients_and_nothing_else(
    most: int, mp: int, optimizer_sharding: bool
) -> None:
    peaks, sums = [], []
    for num_micro_batches in (1, most):
        config = recipe(num_micro_batches, mp, optimizer_sharding)
        (compiled,) = compile_ranks(config, [0], level=1)
        peak, (state,) = compiled.measured.device_memory, stage_states(config)
        assert peak is not None and peak > 2 * state.num_device_bytes
        peaks.append(peak)
        sums.append(state.device_bytes["gradient sums"])
    assert sums[0] == 0 < sums[1]
    assert peaks[1] <= 1.05 * (peaks[0] + sums[1])


def test_the_peak_does_not_grow_with_the_number_of_micro_batches() -> None:
    peaks = []
    for num_micro_batches in (2, 4):
        (compiled,) = compile_ranks(recipe(num_micro_batches, mp=2, optimizer_sharding=False), [0], level=1)
        assert compiled.measured.device_memory is not None
        peaks.append(compiled.measured.device_memory)
    assert peaks[1] <= 1.01 * peaks[0]
