"""Starting values: functions of (seed, name, index), with the distributions they say they have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pangu_alpha.config import load_config
from pangu_alpha.parallel.parameters import ONES, PARAMETERS, ZEROS, Start
from pangu_alpha.parallel.parts import Box
from pangu_alpha.parallel.start import initial_box, initial_values, starting_values

NUM = 200_000
NORMAL, TRUNCATED = Start("normal", 0.02), Start("truncated_normal", 0.02)
LAYERS = 4
NAME = "layers.0.attention.query.weight"


@pytest.fixture(scope="module")
def normal() -> np.ndarray:
    return initial_values(NORMAL, LAYERS, 1, NAME, 0, NUM)


@pytest.mark.parametrize("init", [NORMAL, TRUNCATED, ONES, ZEROS])
@settings(max_examples=25, deadline=None)
@given(start=st.integers(0, 5000), length=st.integers(0, 300))
def test_a_slice_is_the_slice_of_the_whole(init: Start, start: int, length: int) -> None:
    whole = initial_values(init, LAYERS, 3, NAME, 0, 5300)
    np.testing.assert_array_equal(
        initial_values(init, LAYERS, 3, NAME, start, start + length), whole[start : start + length]
    )


def test_a_slice_over_the_internal_chunk_is_the_slice_of_the_whole() -> None:
    """Large parameters are drawn 2²⁰ elements at a time, counted from the start of the slice."""
    whole = initial_values(NORMAL, LAYERS, 3, NAME, 0, 2**20 + 9)
    np.testing.assert_array_equal(initial_values(NORMAL, LAYERS, 3, NAME, 2**20 - 5, 2**20 + 9), whole[-14:])
    np.testing.assert_array_equal(initial_values(NORMAL, LAYERS, 3, NAME, 3, 2**20 + 8), whole[3:-1])


def test_far_elements_are_drawn_at_once() -> None:
    """The last elements of the 200B word table and of an index above 2³²."""
    for start in (40000 * 16384 - 8, 2**33 + 1):
        one = initial_values(NORMAL, LAYERS, 3, NAME, start, start + 8)
        np.testing.assert_array_equal(one[3:5], initial_values(NORMAL, LAYERS, 3, NAME, start + 3, start + 5))


def test_normal(normal: np.ndarray) -> None:
    assert normal.dtype == np.float32
    assert stats.kstest(normal / 0.02, "norm").pvalue > 1e-3
    assert normal.std() == pytest.approx(0.02, rel=0.01)
    assert np.abs(normal).max() > 3.5 * 0.02, "not cut"


def test_truncated_normal() -> None:
    values = initial_values(TRUNCATED, LAYERS, 1, NAME, 0, NUM) / 0.02
    assert np.abs(values).max() <= 2 * (1 + 1e-6)
    assert np.abs(values).max() > 1.999
    assert stats.kstest(values, stats.truncnorm(-2, 2).cdf).pvalue > 1e-3


def test_neighbours_are_independent(normal: np.ndarray) -> None:
    for distance in (1, 2, 3, 4, 5, 64, 1024):
        assert abs(np.corrcoef(normal[distance:], normal[:-distance])[0, 1]) < 5 / np.sqrt(NUM - distance)


@pytest.mark.parametrize(
    ("seed", "name"),
    [
        (2, NAME),
        (1, "layers.0.attention.key.weight"),
        (1, "layers.1.attention.query.weight"),
        (11, NAME[1:]),
        (1, NAME + "0"),
    ],
)
def test_another_seed_or_name_is_independent(normal: np.ndarray, seed: int, name: str) -> None:
    """Also when the streams are shifted against each other."""
    other = initial_values(NORMAL, LAYERS, seed, name, 0, NUM)
    for shift in (0, 1, 4, -4):
        assert abs(np.corrcoef(np.roll(other, shift), normal)[0, 1]) < 5 / np.sqrt(NUM)


def test_the_numbers_never_change() -> None:
    """A run that began with an earlier version must begin the same: these were drawn once and written down."""
    np.testing.assert_allclose(
        initial_values(NORMAL, LAYERS, 1, "embedding.word.table", 0, 4),
        [0.00638295943, -0.0112229399, -0.0244314689, -0.0393788666],
        rtol=1e-6,
    )


def test_constants() -> None:
    np.testing.assert_array_equal(initial_values(ZEROS, LAYERS, 1, NAME, 5, 9), [0, 0, 0, 0])
    np.testing.assert_array_equal(initial_values(ONES, LAYERS, 1, NAME, 5, 9), [1, 1, 1, 1])


def test_what_writes_to_the_residual_stream_starts_smaller_in_deeper_networks() -> None:
    """In the 2.6B network: 0.02 ÷ √(2 · 32) = 0.0025."""
    start = PARAMETERS["layer.attention.output.weight"].start
    assert start == PARAMETERS["layer.feed_forward.contract.weight"].start
    assert start.std_in(32) == 0.0025
    values = initial_values(start, 32, 1, NAME, 0, NUM)
    np.testing.assert_allclose(values, initial_values(Start("normal", 0.0025), LAYERS, 1, NAME, 0, NUM))
    assert PARAMETERS["layer.attention.query.weight"].start.std_in(32) == 0.01


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_box_is_drawn_without_the_rest(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([(7,), (6, 5)]))
    begin = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    sizes = tuple(data.draw(st.integers(1, size - first)) for size, first in zip(shape, begin, strict=True))
    whole = initial_values(NORMAL, LAYERS, 3, NAME, 0, int(np.prod(shape))).reshape(shape)
    box = Box(begin, sizes)
    np.testing.assert_array_equal(initial_box(NORMAL, LAYERS, 3, NAME, shape, box), whole[box.index])


def test_starting_values_are_those_of_the_network() -> None:
    from pangu_alpha.model import build_network

    network = "model={num_layers: 2, hidden_size: 8, num_heads: 2, vocab_size: 9, seq_length: 4}"
    config = load_config("tiny_cpu", [network, "model.final_norm=before_query_layer"])
    read = starting_values(config)
    for item in build_network(config.model, config.train.seed).get_parameters():
        np.testing.assert_array_equal(read(item.name, Box.all_of(item.shape)), item.asnumpy())
    assert not read("adam_v.final_norm.gamma", Box((2,), (3,))).any()
