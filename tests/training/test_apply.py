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


def peak(config: RunConfig) -> int:
    """Bytes that MindSpore plans on rank 0's device at its fullest. The program is kept: a second question is free."""
    (compiled,) = compile_ranks(config, [0], level=1)
    assert compiled.measured.device_memory is not None
    return compiled.measured.device_memory


@pytest.mark.parametrize(("mp", "optimizer_sharding"), [(1, True), (1, False), (2, False)])
def test_micro_batches_cost_the_sums_of_the_gradients_and_nothing_else(mp: int, optimizer_sharding: bool) -> None:
    configs = [recipe(num_micro_batches, mp, optimizer_sharding) for num_micro_batches in (1, 2)]
    (first,), (second,) = map(stage_states, configs)
    assert first.device_bytes["gradient sums"] == 0 < second.device_bytes["gradient sums"]
    assert peak(configs[0]) > 2 * first.num_device_bytes
    assert peak(configs[1]) <= 1.05 * (peak(configs[0]) + second.device_bytes["gradient sums"])


def test_the_peak_does_not_grow_with_the_number_of_micro_batches() -> None:
    two, four = (recipe(num_micro_batches, mp=2, optimizer_sharding=False) for num_micro_batches in (2, 4))
    assert peak(four) <= 1.01 * peak(two)
