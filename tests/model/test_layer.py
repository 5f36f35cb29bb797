"""The query layer by itself (paper Eq. 5), and the layer it derives from."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from mindspore import Tensor
from numpy.typing import NDArray

from pangu_alpha.config import ModelConfig
from pangu_alpha.model.layer import QueryLayer

Array = NDArray[np.float64]


class OneDocument:
    """A query layer that reads one sample of one document."""

    def __init__(self, config: ModelConfig, set_large_weights: Callable[..., dict[str, Array]]) -> None:
        self.config = config
        self.cell = QueryLayer(config)
        # The default name of a parameter of a Cell without parent has no prefix.
        self.weights = {f"top.{name}": values for name, values in set_large_weights(self.cell).items()}
        self.cell.set_train(False)
        size = config.seq_length
        self.positions = np.arange(size, dtype=np.int32)
        self.document = Tensor(np.zeros((1, size), np.int32))

    def __call__(self, hidden: Array, positions: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
        positions = self.positions if positions is None else positions
        sample_keys = Tensor(np.zeros(1, np.int32))
        return self.cell(
            Tensor(hidden.astype(np.float32)), Tensor(positions[None]), self.document, sample_keys
        ).asnumpy()


@pytest.fixture(scope="module")
def layer(make_config: Callable[..., ModelConfig], set_large_weights: Callable[..., dict[str, Array]]) -> OneDocument:
    return OneDocument(make_config(), set_large_weights)


@pytest.fixture
def hidden(layer: OneDocument) -> Array:
    """A hidden state that LayerNorm changes much: not centred, of another size in each row."""
    generator = np.random.default_rng(3)
    size = (layer.config.seq_length, layer.config.hidden_size)
    return generator.normal(0.5, 1.0, size) * np.linspace(0.5, 3.0, size[0])[:, None]


def test_is_equation_5(layer: OneDocument, hidden: Array, reference: ModuleType) -> None:
    expected = reference.query_layer(layer.weights, "top", layer.config, hidden)
    np.testing.assert_allclose(layer(hidden), expected, rtol=0, atol=1e-5)


def test_differs_from_what_it_could_be_mistaken_for(layer: OneDocument, hidden: Array, reference: ModuleType) -> None:
    """The comparison above sees whether the queries or the residual come from elsewhere."""
    config, weights, ours = layer.config, layer.weights, layer(hidden)
    asked = weights["top.top_query.table"]
    normed = reference.layer_norm(weights, "top.attention_norm", hidden)
    normed_queries = reference.layer_norm(weights, "top.attention_norm", asked)
    mistakes = {
        "LayerNorm on the queries": (hidden, normed_queries, normed),
        "keys and values without LayerNorm": (hidden, asked, hidden),
        "queries of the hidden state": (hidden, normed, normed),
        "the queries as residual": (asked, asked, normed),
        "hidden state added to the queries": (hidden, asked + hidden, normed),
        "the next position's query": (hidden, np.roll(asked, -1, axis=0), normed),
    }
    for mistake, inputs in mistakes.items():
        wrong = reference.rest_of_layer(weights, "top", config, *inputs)
        assert np.abs(ours - wrong).max() > 0.01, mistake


def test_the_query_is_the_row_of_the_position(layer: OneDocument) -> None:
    positions = np.array([0, 1, 2, 0, 1, 2, 3, 4, 0, 0, 1, 11], np.int32)
    queries = layer.cell.queries(Tensor(positions[None])).asnumpy()
    np.testing.assert_array_equal(queries, layer.weights["top.top_query.table"][positions].astype(np.float32))


def test_positions_change_nothing_but_the_queries(layer: OneDocument, hidden: Array, reference: ModuleType) -> None:
    positions = layer.positions[::-1].copy()
    weights = dict(layer.weights)
    weights["top.top_query.table"] = weights["top.top_query.table"][positions]
    expected = reference.query_layer(weights, "top", layer.config, hidden)
    np.testing.assert_allclose(layer(hidden, positions), expected, rtol=0, atol=1e-5)


def test_the_residual_stream_is_the_hidden_state(
    make_config: Callable[..., ModelConfig], set_large_weights: Callable[..., dict[str, Array]], hidden: Array
) -> None:
    """When attention and feed-forward write nothing, the hidden state comes out as it went in."""
    silent = OneDocument(make_config(), set_large_weights)
    for item in silent.cell.get_parameters():
        if item.name.startswith(("attention.output", "feed_forward.contract")):
            item.set_data(Tensor(np.zeros(item.shape, np.float32)))
    np.testing.assert_array_equal(silent(hidden), hidden.astype(np.float32))
