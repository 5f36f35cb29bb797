"""The table of parameters beside the network, and what every reader of it makes of a new row."""

from __future__ import annotations

import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_alpha.config import ModelConfig, ParallelConfig, load_config
from pangu_alpha.errors import ConfigError
from pangu_alpha.parallel import parameters
from pangu_alpha.parallel.parameters import (
    PARAMETERS,
    WORD_TABLE,
    ParameterRow,
    Start,
    num_padded_rows,
    num_parameters,
    parameter_name,
    parameter_names,
    parameter_shapes,
    row_of,
    stages_holding,
)
from pangu_alpha.parallel.parts import cutting_axes, held_parts
from pangu_alpha.parallel.start import initial_values
from pangu_alpha.planner.memory import stage_states
from pangu_alpha.topology.stages import place_layers

os.environ.setdefault("GLOG_v", "3")
SMALL = "model={num_layers: 3, hidden_size: 16, num_heads: 4, vocab_size: 50, seq_length: 8, dropout: 0}"


def small_model() -> ModelConfig:
    return load_config("tiny_cpu", [SMALL, "model.final_norm=before_query_layer"]).model


@pytest.mark.parametrize("preset", ["tiny", "350m", "2b6", "13b", "200b"])
def test_all_parameters_of_the_preset(preset: str) -> None:
    model = load_config("tiny_cpu", [f"model={{preset: {preset}}}"]).model
    assert sum(map(math.prod, parameter_shapes(model, 1).values())) == num_parameters(model)


def test_names_order_and_shapes_are_those_of_the_network() -> None:
    from pangu_alpha.model import PanguAlpha

    network = PanguAlpha(small_model(), num_table_rows=52)
    shapes = {item.name: tuple(item.shape) for item in network.trainable_params()}
    assert parameter_shapes(small_model(), 4) == shapes
    assert set(parameter_names(small_model())) == set(shapes)


def test_every_row_is_a_parameter_and_has_an_entry_a_dim() -> None:
    used = {parameters.row_name(name) for name in parameter_names(small_model())}
    assert used == set(PARAMETERS)
    assert all(len(row.sizes) == len(row.cut) for row in PARAMETERS.values())


def test_what_the_released_code_leaves_out_of_optimizer_sharding() -> None:
    assert {name for name, row in PARAMETERS.items() if row.is_kept_whole} == {
        *("embedding.word.table", "embedding.position.table", "layer.top_query.table"),
        *(f"{norm}.{part}" for norm in ("layer.attention_norm", "layer.feed_forward_norm", "final_norm")
          for part in ("gamma", "beta")),
        *("layer.attention.output.bias", "layer.feed_forward.contract.bias"),
    }  # fmt: skip


def test_layer_norms_and_biases_are_not_decayed() -> None:
    for name, row in PARAMETERS.items():
        assert row.is_decayed == name.endswith((".weight", ".table")), name


def test_only_the_keys_bias_has_no_gradient_and_only_the_word_table_is_padded() -> None:
    assert [name for name, row in PARAMETERS.items() if not row.has_gradient] == ["layer.attention.key.bias"]
    assert [name for name, row in PARAMETERS.items() if row.is_padded] == [WORD_TABLE]


def test_stages_of_each_kind() -> None:
    places = place_layers(load_config("200b_2048").model, ParallelConfig(pp=16))
    assert stages_holding(WORD_TABLE, places) == (0, 15)
    assert stages_holding("embedding.position.table", places) == (0,)
    assert stages_holding("layers.5.attention.key.bias", places) == (1,)
    assert stages_holding("adam_v.layers.5.attention.key.bias", places) == (1,)
    for name in ("query_layer.top_query.table", "query_layer.attention.key.bias", "final_norm.beta"):
        assert stages_holding(name, places) == (15,)
    alone = place_layers(small_model(), ParallelConfig())
    assert stages_holding(WORD_TABLE, alone) == (0,)


@pytest.mark.parametrize(("words", "mp", "rows"), [(40000, 8, 40000), (129, 2, 130), (50, 4, 52), (7, 8, 8), (5, 1, 5)])
def test_padding_by_hand(words: int, mp: int, rows: int) -> None:
    assert num_padded_rows(words, mp) == rows


@given(words=st.integers(2, 200_000), mp=st.integers(1, 64))
def test_padding_is_the_least_that_divides(words: int, mp: int) -> None:
    rows = num_padded_rows(words, mp)
    assert rows % mp == 0
    assert words <= rows < words + mp


def test_a_moment_has_its_parameters_row_and_an_unknown_name_none() -> None:
    assert parameter_name("adam_m.final_norm.gamma") == parameter_name("final_norm.gamma") == "final_norm.gamma"
    assert row_of("adam_v.layers.7.attention.query.weight") is PARAMETERS["layer.attention.query.weight"]
    with pytest.raises(ConfigError, match=r"no row for the parameter layers\.7\.attention\.rotary: add it to"):
        row_of("layers.7.attention.rotary")


@pytest.fixture
def with_gate(monkeypatch: pytest.MonkeyPatch) -> str:
    """A new parameter: a gate on what the feed-forward part returns, added to the network and to the table."""
    from mindspore import Tensor, ops

    from pangu_alpha.model import feed_forward
    from pangu_alpha.model.parameter import parameter

    class Gated(feed_forward.FeedForward):
        def __init__(self, config: ModelConfig) -> None:
            super().__init__(config)
            self.gate = parameter((config.hidden_size,))
            self.multiply = ops.Mul()

        def construct(self, x: Tensor) -> Tensor:
            return self.multiply(self.contract(self.gelu(self.expand(x))), self.gate)

    row = ParameterRow(("hidden_size",), (None,), Start("normal", 0.5), is_decayed=False)
    rows = {**PARAMETERS, "layer.feed_forward.gate": row}
    order = sorted(rows, key=lambda name: (not name.startswith("embedding."), name == "final_norm.gamma", name))
    monkeypatch.setattr(parameters, "PARAMETERS", {name: rows[name] for name in order})
    monkeypatch.setattr("pangu_alpha.model.layer.FeedForward", Gated)
    return "layers.1.feed_forward.gate"


def test_a_new_parameter_is_added_in_the_network_and_in_one_table(with_gate: str) -> None:
    """Its start, its decay, its place on the stages, its parts and its memory follow."""
    import numpy as np

    from pangu_alpha.model import build_network
    from pangu_alpha.runtime.device import set_device
    from pangu_alpha.training.optimizer import AdamW

    set_device("cpu", fuse_operators=False)
    config = load_config("tiny_cpu", [SMALL, "model.final_norm=before_query_layer"])
    network = build_network(config.model, seed=7)
    found = {item.name: item for item in network.trainable_params()}
    expected = initial_values(Start("normal", 0.5), 3, 7, with_gate, 0, 16)
    np.testing.assert_array_equal(found[with_gate].asnumpy(), expected)

    optimizer = AdamW(network.trainable_params(), config.optimizer)
    decayed = dict(zip(found, optimizer.decayed, strict=True))
    assert not decayed[with_gate] and decayed["layers.1.feed_forward.expand.weight"]

    sharded = ParallelConfig(dp=2, mp=2, pp=3, optimizer_sharding=True)
    assert [with_gate in held_parts(config.model, sharded, rank) for rank in (0, 4, 8)] == [False, True, False]
    assert held_parts(config.model, sharded, 7)[with_gate].box.begin == (8,)
    assert cutting_axes(with_gate, config.model, sharded) == (("dp",),)

    (state,) = stage_states(config)
    assert state.num_parameters == num_parameters(config.model) == sum(item.size for item in found.values())


def test_a_parameter_without_a_row_is_refused_when_the_network_starts(
    with_gate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pangu_alpha.model import build_network

    monkeypatch.setattr(parameters, "PARAMETERS", PARAMETERS)
    with pytest.raises(ConfigError, match=r"no row for the parameter layers\.0\.feed_forward\.gate"):
        build_network(small_model(), seed=7)
