"""Dropout as a random number source: shares, independence, and what the mask may depend on.

Everything is drawn from fixed keys, so that a test either always passes or never does. Limits are those of true random
masks at about five standard deviations (or the known edge of a random matrix's spectrum).
"""

from __future__ import annotations

from collections.abc import Callable

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops
from numpy.typing import NDArray

from pangu_alpha.config import ModelConfig
from pangu_alpha.model import build_network
from pangu_alpha.model.dropout import Dropout

RATE = 0.1
ROWS, COLUMNS = 512, 384
STD = np.sqrt(RATE * (1 - RATE))
KEYS = [1, 2, 3, 1 << 20, 2**31 - 2, 907_335_081]
PLACES = ["embedding", "layers.0.attention", "layers.1.attention", "query_layer.feed_forward"]

Mask = NDArray[np.bool_]


def dropped(place: str, keys: list[int], rate: float = RATE) -> Mask:
    """bool [samples, ROWS, COLUMNS]: what a place drops of samples with these keys."""
    cell = Dropout(rate, place, ROWS, COLUMNS)
    cell.set_train()
    ones = Tensor(np.ones((len(keys) * ROWS, COLUMNS), np.float32))
    return cell(ones, Tensor(np.array(keys, np.int32))).asnumpy().reshape(len(keys), ROWS, COLUMNS) == 0


@pytest.fixture(scope="module")
def masks() -> dict[str, Mask]:
    """By place, for `KEYS`."""
    return {place: dropped(place, KEYS) for place in PLACES}


def spectral_excess(mask: NDArray[np.floating]) -> float:
    """Largest singular value of a centred mask, relative to the edge of that of independent elements (1 ± 0.03).

    Structure common to many rows or columns, such as a mask that is a function of row + column, raises it far above 1.
    """
    centred = mask - RATE
    largest = np.sqrt(np.linalg.eigvalsh(centred.T @ centred)[-1])
    return float(largest / (STD * (np.sqrt(mask.shape[0]) + np.sqrt(mask.shape[1]))))


def correlation(one: Mask, other: Mask) -> float:
    """In standard deviations of the correlation of independent masks."""
    return float(((one - RATE) * (other - RATE)).sum() / (STD**2 * np.sqrt(one.size)))


class TestStatistics:
    @pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
    def test_share(self, rate: float) -> None:
        mask = dropped("share", [5, 6], rate)
        assert abs(mask.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / mask.size)

    def test_share_of_each_row_and_column(self, masks: dict[str, Mask]) -> None:
        """Neither favoured rows or columns (a larger spread) nor evened-out ones (a smaller spread)."""
        for place, mask in masks.items():
            columns = (mask.mean((0, 1)) - RATE) / STD * np.sqrt(len(KEYS) * ROWS)
            rows = (mask.mean(2) - RATE) / STD * np.sqrt(COLUMNS)
            for values in (columns, rows):
                assert np.abs(values).max() < 5.5, place
                assert values.var() == pytest.approx(1, abs=5 * np.sqrt(2 / values.size)), place

    def test_no_pair_of_columns_or_rows_drops_together(self, masks: dict[str, Mask]) -> None:
        for place, mask in masks.items():
            for vectors in (mask.reshape(-1, COLUMNS).T, mask[0]):
                centred = (vectors.astype(np.float32) - RATE) / STD
                correlations = centred @ centred.T / np.sqrt(vectors.shape[1])
                upper = correlations[np.triu_indices(len(vectors), 1)]
                # 70,000 to 130,000 pairs. Common drops are few and their count skewed: 7, not 5, for one in a million.
                assert np.abs(upper).max() < 7, place
                assert upper.var() == pytest.approx(1, abs=0.04), place

    def test_no_low_rank_structure(self, masks: dict[str, Mask]) -> None:
        for place, mask in masks.items():
            for sample in mask[:3]:
                assert spectral_excess(sample) < 1.05, place

    def test_low_rank_structure_would_be_seen(self) -> None:
        """What is added, not multiplied, from random rows and columns has the right shares but fails the spectrum."""
        generator = np.random.default_rng(1)
        rows, columns = generator.random((ROWS, 1)), generator.random((1, COLUMNS))
        poor = (rows + columns) % 1 < RATE
        assert abs(poor.mean() - RATE) < 0.01
        assert spectral_excess(poor) > 2
        # Weaker: one channel in twenty copies another one.
        copied = generator.random((ROWS, COLUMNS)) < RATE
        copied[:, ::20] = copied[:, :1]
        assert spectral_excess(copied) > 1.5

    def test_samples_are_independent(self, masks: dict[str, Mask]) -> None:
        for place, mask in masks.items():
            for i in range(len(KEYS)):
                for j in range(i):
                    assert abs(correlation(mask[i], mask[j])) < 5, (place, KEYS[i], KEYS[j])

    def test_places_are_independent(self, masks: dict[str, Mask]) -> None:
        for i, place in enumerate(PLACES):
            for other in PLACES[:i]:
                assert abs(correlation(masks[place], masks[other])) < 5, (place, other)
                assert abs(correlation(masks[place][0], masks[other][1])) < 5, (place, other)

    def test_neighbouring_rows_and_columns_are_independent(self, masks: dict[str, Mask]) -> None:
        """Pooled over all rows, which finds what is too weak in one pair of them."""
        for place, mask in masks.items():
            for distance in (1, 2, 3, 5, 8, 64, 256):
                assert abs(correlation(mask[:, distance:], mask[:, :-distance])) < 5, (place, distance)
                assert abs(correlation(mask[:, :, distance:], mask[:, :, :-distance])) < 5, (place, distance)


class TestWhatTheMaskDependsOn:
    def test_not_on_the_row_of_the_batch_nor_on_its_size(self, masks: dict[str, Mask]) -> None:
        place = PLACES[1]
        np.testing.assert_array_equal(dropped(place, [KEYS[4], 77, KEYS[0]])[[2, 0]], masks[place][[0, 4]])
        np.testing.assert_array_equal(dropped(place, [KEYS[3]])[0], masks[place][3])

    def test_not_on_the_values_nor_their_type(self, masks: dict[str, Mask]) -> None:
        cell = Dropout(RATE, PLACES[0], ROWS, COLUMNS)
        cell.set_train()
        values = np.random.default_rng(2).normal(5, 1, (ROWS, COLUMNS)).astype(np.float16)
        result = cell(Tensor(values), Tensor(np.array(KEYS[:1], np.int32)))
        assert result.dtype == ms.float16
        np.testing.assert_array_equal(result.asnumpy() == 0, masks[PLACES[0]][0])

    def test_not_on_the_shape_of_the_rows(self) -> None:
        """Attention weights come as [B, heads, queries, keys]."""
        cell = Dropout(RATE, "weights", 4 * 16, 16)
        cell.set_train()
        keys = Tensor(np.array(KEYS[:2], np.int32))
        flat = cell(Tensor(np.ones((2 * 4 * 16, 16), np.float32)), keys).asnumpy()
        split = cell(Tensor(np.ones((2, 4, 16, 16), np.float32)), keys).asnumpy()
        assert 0 < (flat == 0).mean() < 1
        np.testing.assert_array_equal(split.reshape(-1, 16), flat)


class TestValues:
    def test_kept_elements_grow_so_that_the_mean_stays(self) -> None:
        cell = Dropout(0.25, "values", ROWS, COLUMNS)
        cell.set_train()
        values = np.random.default_rng(3).normal(3, 1, (ROWS, COLUMNS)).astype(np.float32)
        result = cell(Tensor(values), Tensor(np.array([9], np.int32))).asnumpy()
        kept = result != 0
        np.testing.assert_allclose(result[kept], values[kept] / 0.75, rtol=1e-6)
        # Standard deviation of an element after dropout: √((3² + 1) / 0.75 - 3²) = 2.1.
        assert result.mean() == pytest.approx(values.mean(), abs=5 * 2.1 / np.sqrt(values.size))

    def test_nothing_is_dropped_outside_training_or_at_rate_0(self) -> None:
        ones = Tensor(np.ones((ROWS, COLUMNS), np.float32))
        for rate, training in ((RATE, False), (0.0, True)):
            cell = Dropout(rate, "idle", ROWS, COLUMNS)
            cell.set_train(training)
            assert (cell(ones, Tensor(np.array([1], np.int32))).asnumpy() == 1).all()

    def test_gradient_passes_the_same_mask(self) -> None:
        cell = Dropout(RATE, PLACES[2], 64, 48)
        cell.set_train()
        generator = np.random.default_rng(4)
        x, key = Tensor(generator.normal(0, 1, (64, 48)).astype(np.float32)), Tensor(np.array([11], np.int32))
        upstream = generator.normal(0, 1, (64, 48)).astype(np.float32)
        result = cell(x, key).asnumpy()
        gradient = ops.GradOperation(sens_param=True)(cell)(x, key, Tensor(upstream)).asnumpy()
        np.testing.assert_array_equal(gradient == 0, result == 0)
        np.testing.assert_allclose(gradient, np.where(result == 0, 0, upstream / (1 - RATE)), rtol=1e-6)


class TestInTheNetwork:
    def test_every_place_of_the_paper_has_its_own(self, make_config: Callable[..., ModelConfig]) -> None:
        """Embedding; attention weights, attention and feed-forward of each layer. Equal columns mean equal names."""
        network = build_network(make_config(dropout=RATE), seed=1)
        places = [cell for _, cell in network.cells_and_names() if isinstance(cell, Dropout)]
        assert len(places) == 1 + 3 * 3
        assert len({cell.columns.asnumpy().tobytes() for cell in places}) == len(places)

    def test_same_sample_same_result_wherever_it_stands(
        self,
        make_config: Callable[..., ModelConfig],
        windows: NDArray[np.int32],
        set_large_weights: Callable[..., dict],
    ) -> None:
        network = build_network(make_config(dropout=RATE), seed=1)
        set_large_weights(network)
        positions = np.arange(12, dtype=np.int32)[None]

        def logits(rows: list[int], keys: list[int]) -> NDArray[np.float32]:
            ids = windows[rows, :-1]
            inputs = (ids, np.repeat(positions, len(rows), 0), np.zeros_like(ids), np.array(keys, np.int32))
            return network(*(Tensor(array) for array in inputs)).asnumpy().reshape(len(rows), 12, -1)

        network.set_train()
        together = logits([0, 1, 2, 0], [101, 102, 103, 104])
        np.testing.assert_allclose(logits([2, 0], [103, 101]), together[[2, 0]], rtol=0, atol=1e-5)
        assert np.abs(together[0] - together[3]).max() > 0.1, "another key drops other elements"
        network.set_train(False)
        evaluated = logits([0, 1, 2, 0], [101, 102, 103, 104])
        np.testing.assert_array_equal(evaluated[0], evaluated[3])
        assert np.abs(evaluated[0] - together[0]).max() > 0.1


def test_no_parameters() -> None:
    """The tables of a place are constants: nothing for the optimizer or a checkpoint."""
    assert list(Dropout(RATE, "constant", 8, 8).get_parameters()) == []
