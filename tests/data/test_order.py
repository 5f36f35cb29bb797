from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_alpha.config import DATA_MIXES
from pangu_alpha.data.order import MAX_PERIOD, Blend, keys, permute
from pangu_alpha.errors import DataError


@given(size=st.integers(1, 3000), seed=st.integers(0, 2**63))
def test_every_place_is_taken_once(size: int, seed: int) -> None:
    assert np.array_equal(np.sort(permute(np.arange(size), size, keys(seed))), np.arange(size))


@pytest.mark.parametrize("size", [*range(1, 41), 97, 1021, 1023, 1024, 1025, 10007, 65536, 99991])
def test_sizes_at_the_edges(size: int) -> None:
    assert np.array_equal(np.sort(permute(np.arange(size), size, keys(1, size))), np.arange(size))


@given(size=st.integers(2**31, 2**62), seed=st.integers(0, 100), data=st.data())
def test_huge_sizes_stay_inside_and_apart(size: int, seed: int, data: st.DataObject) -> None:
    index = np.array(data.draw(st.lists(st.integers(0, size - 1), unique=True, min_size=2, max_size=20)))
    places = permute(index, size, keys(seed))
    assert len(set(places.tolist())) == len(index)
    assert places.min() >= 0
    assert places.max() < size


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_all_permutations_are_equally_likely(size: int) -> None:
    num_keys = 6000
    index, key = np.tile(np.arange(size), num_keys), np.repeat(keys(5, np.arange(num_keys)), size)
    rows = permute(index, size, key).reshape(num_keys, size).tolist()
    counts = [rows.count(list(order)) for order in itertools.permutations(range(size))]
    expected = num_keys / len(counts)
    deviation = sum((count - expected) ** 2 / expected for count in counts)
    degrees = len(counts) - 1
    assert deviation < degrees + 4 * math.sqrt(2 * degrees)


def test_a_large_permutation_looks_random() -> None:
    size = 100_000
    places = permute(np.arange(size), size, keys(1, 0, 0)).astype(float)
    other = permute(np.arange(size), size, keys(1, 0, 1)).astype(float)
    for pair in ((np.arange(size), places), (places[1:], places[:-1]), (places, other)):
        assert abs(np.corrcoef(*pair)[0, 1]) < 4 / math.sqrt(size)
    assert np.count_nonzero(places == np.arange(size)) < 10
    # The distance between neighbours falls into sixteen equal bins equally often, within 5 standard deviations.
    bins = np.bincount((np.diff(places) % size * 16 // size).astype(int), minlength=16)
    assert np.abs(bins - size / 16).max() < 5 * math.sqrt(size / 16)


def test_the_order_never_changes() -> None:
    # A run that is resumed with a later version must go on with the same samples.
    assert permute(np.arange(10), 10, keys(1, 0, 0)).tolist() == [9, 5, 3, 6, 2, 4, 0, 8, 7, 1]
    assert Blend([3, 2, 1]).locate(np.arange(6))[0].tolist() == [0, 1, 0, 2, 1, 0]


WEIGHTS = st.lists(st.one_of(st.integers(1, 60), st.sampled_from([0.1, 0.25, 2.5, 12.5])), min_size=1, max_size=9)


@given(WEIGHTS)
def test_every_prefix_has_its_shares(weights: list[float]) -> None:
    blend = Blend(weights)
    total = sum(Fraction(repr(weight)) for weight in weights)
    sources, _ = blend.locate(np.arange(blend.period))
    for source, weight in enumerate(weights):
        share = Fraction(repr(weight)) / total
        counts = np.cumsum(sources == source)
        assert counts[-1] == share * blend.period
        ideal = np.arange(1, blend.period + 1) * float(share)
        assert np.abs(counts - ideal).max() < 1


@given(WEIGHTS, st.integers(0, 10**12))
def test_counting_goes_on_anywhere(weights: list[float], first: int) -> None:
    blend = Blend(weights)
    sources, counts = blend.locate(first + np.arange(300))
    for source in range(len(weights)):
        own = counts[sources == source]
        assert np.array_equal(own, np.arange(own[0], own[0] + len(own))) if len(own) else True
    alone = [blend.locate(np.array([first + i])) for i in (0, 299)]
    assert [(int(s[0]), int(c[0])) for s, c in alone] == [(sources[i], counts[i]) for i in (0, 299)]


def test_counting_starts_at_zero() -> None:
    blend = Blend([2, 5])
    sources, counts = blend.locate(np.arange(70))
    assert counts[sources == 0].tolist() == list(range(20))
    assert counts[sources == 1].tolist() == list(range(50))


@pytest.mark.parametrize(("mix", "period"), [("paper_200b", 10000), ("paper_2b6_13b", 10099)])
def test_the_papers_mixes_are_exact(mix: str, period: int) -> None:
    weights = list(DATA_MIXES[mix].values())
    blend = Blend(weights)
    assert blend.period == period
    assert blend.weights == tuple(round(100 * weight) for weight in weights)


def test_weights_with_too_many_digits() -> None:
    with pytest.raises(DataError, match=rf"repeat only after 10,000,000 samples; at most {MAX_PERIOD:,}"):
        Blend([0.1234567, 0.8765433])
