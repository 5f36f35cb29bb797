"""The arithmetic of a recipe, against numbers found elsewhere or counted another way."""

from __future__ import annotations

import pytest

from pangu_alpha.config import (
    MODEL_PRESETS,
    ModelConfig,
    build_config,
    forward_flops_per_token,
    load_config,
    model_flops_per_token,
    tokens_per_step,
)
from pangu_alpha.parallel.parameters import num_parameters


def matrix_products(model: ModelConfig) -> list[tuple[int, int, int]]:
    """(rows, inner size, columns) of each matrix product when one sample goes forward."""
    s, d, head = model.seq_length, model.hidden_size, model.hidden_size // model.num_heads
    attention = [(s, d, d)] * 3 + [(s, head, s), (s, s, head)] * model.num_heads + [(s, d, d)]
    feed_forward = [(s, d, 4 * d), (s, 4 * d, d)]
    return (attention + feed_forward) * model.num_layers + [(s, d, model.vocab_size)]


def shapes(model: ModelConfig) -> list[tuple[int, ...]]:
    """Shape of each parameter of the paper's network."""
    d = model.hidden_size
    norm = [(d,), (d,)]
    attention = [(d, d), (d,)] * 4
    feed_forward = [(d, 4 * d), (4 * d,), (4 * d, d), (d,)]
    tables = [(model.vocab_size, d), (model.seq_length, d), (model.seq_length, d)]
    return (norm + attention + norm + feed_forward) * model.num_layers + tables + norm


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("2b6", 2_625_295_360),  # printed by users of the released checkpoint
        ("13b", 12_800_870_400),
        ("200b", 206_861_008_896),
        # 24(12·1024² + 13·1024) + 40000·1024 + 2·1024·1024 + 2·1024
        ("350m", 302_309_376 + 40_960_000 + 2_097_152 + 2_048),
        # 4(12·256² + 13·256) + 6000·256 + 2·256·256 + 2·256
        ("tiny", 3_159_040 + 1_536_000 + 131_072 + 512),
    ],
)
def test_number_of_parameters(preset: str, count: int) -> None:
    assert num_parameters(ModelConfig(**MODEL_PRESETS[preset])) == count


@pytest.mark.parametrize("preset", MODEL_PRESETS)
def test_parameters_and_operations_are_those_of_the_shapes(preset: str) -> None:
    model = ModelConfig(**MODEL_PRESETS[preset])
    elements = 0
    for shape in shapes(model):
        size = 1
        for length in shape:
            size *= length
        elements += size
    assert num_parameters(model) == elements
    operations = sum(2 * rows * inner * columns for rows, inner, columns in matrix_products(model))
    assert forward_flops_per_token(model) * model.seq_length == operations
    assert model_flops_per_token(model) * model.seq_length == 3 * operations


def test_operations_are_about_6_a_parameter() -> None:
    """Of the 200B network: all but attention's S·d products and the tables that are only looked up."""
    model = ModelConfig(**MODEL_PRESETS["200b"])
    assert model_flops_per_token(model) / num_parameters(model) == pytest.approx(6, rel=0.03)


def test_tokens_of_a_step_are_those_of_all_devices() -> None:
    """Recovered from the paper's Figure 8: 262,144 on 2048 devices, 131,072 on 1024; 2.6B and 13B a million."""
    assert tokens_per_step(load_config("200b_2048")) == 262_144
    assert tokens_per_step(load_config("200b_1024")) == 131_072
    assert tokens_per_step(load_config("2b6")) == tokens_per_step(load_config("13b")) == 1_048_576


def test_micro_batches_do_not_change_the_tokens_of_a_step() -> None:
    values = {
        "model": {"preset": "tiny"},
        "schedule": {"learning_rate": 1e-3, "end_learning_rate": 0, "decay_steps": 9000},
    }
    for parts in (1, 2, 4):
        config = build_config({**values, "train": {"steps": 3, "batch_size": 8, "num_micro_batches": parts}})
        assert tokens_per_step(config) == 8 * 256
