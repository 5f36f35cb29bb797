"""Signatures: the same for a text wherever it stands, and as similar as the texts are."""

from __future__ import annotations

import numpy as np
import pytest
from tests.corpus.conftest import chinese_text

from pangu_alpha.corpus.minhash import band_hashes, letters, shingle_set, shingles, similarity
from pangu_alpha.corpus.recipe import NearSettings

NEAR = NearSettings(ngram=5, bands=200, rows=1, jaccard=0.7)


def test_a_text_has_the_same_hashes_alone_and_among_others() -> None:
    texts = [chinese_text(seed, sentences) for seed, sentences in enumerate((14, 1, 3000, 2))] + [
        "短",
        "",
        "。。",
        "长一点的",
    ]
    bands, whole, has_letters = band_hashes(texts, NEAR)
    for number, text in enumerate(texts):
        alone = band_hashes([text], NEAR)
        assert np.array_equal(bands[number], alone[0][0]) and np.array_equal(whole[number], alone[1][0])
    assert has_letters.tolist() == [True] * 5 + [False, False, True]


def test_bands_agree_as_often_as_the_texts_are_similar() -> None:
    text = chinese_text(1, 60)
    other = text[: len(text) // 2] + chinese_text(2, 30)
    expected = similarity(shingle_set(text, 5), shingle_set(other, 5))
    bands, _, _ = band_hashes([text, other], NEAR)
    assert 0.2 < expected < 0.5
    assert np.mean(bands[0] == bands[1]) == pytest.approx(expected, abs=0.1)  # three standard deviations of 200 draws


def test_similarity_is_that_of_the_sets() -> None:
    some, other = "天下大势分久必合", "天下大势合久必分"
    sets = [{text[i : i + 2] for i in range(len(text) - 1)} for text in (some, other)]
    expected = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
    assert similarity(shingle_set(some, 2), shingle_set(other, 2)) == pytest.approx(expected)


def test_texts_without_a_shingle_do_not_become_one() -> None:
    # Two published pipelines crash on empty shingles, or call all such texts duplicates of each other.
    bands, whole, _ = band_hashes(["好", "坏", "！！！", "。。。", ""], NEAR)
    assert len({tuple(row) for row in whole.tolist()}) == 5
    assert not np.array_equal(bands[0], bands[1])
    assert len(shingles(letters([""])[0], 5)) == 0


def test_width_case_punctuation_and_white_space_do_not_count() -> None:
    _, whole, _ = band_hashes(["ＡＢＣ１２，天下。", "abc12 天下", "abc12天上"], NEAR)
    assert np.array_equal(whole[0], whole[1]) and not np.array_equal(whole[0], whole[2])


def test_characters_outside_the_basic_plane_count() -> None:
    assert similarity(shingle_set("𠀀𠀁𠀂𠀃𠀄𠀅", 5), shingle_set("𠀀𠀁𠀂𠀃𠀄𠀆", 5)) == pytest.approx(1 / 3)
