from __future__ import annotations

import math
from collections import Counter

import pytest

from pangu_alpha.errors import DataError
from pangu_alpha.evaluation.ngrams import NgramModels

NUM_CODE_POINTS = 0x110000 - 0x800


def plain_kneser_ney(train: list[str], text: str) -> float:
    """Bits of `text`, with dictionaries, straight from the formulas of Chen and Goodman (1999)."""
    known = set("".join(train))
    trigrams: Counter[tuple[str, ...]] = Counter()
    for document in train:
        symbols = ["<s>", "<s>", *document, "</s>"]
        trigrams.update(zip(symbols, symbols[1:], symbols[2:], strict=False))
    bigrams = Counter(gram[1:] for gram in trigrams)
    unigrams = Counter(gram[1:] for gram in bigrams)

    def probability(gram: tuple[str, ...], orders: list[Counter[tuple[str, ...]]]) -> float:
        if not gram:
            return 1 / (len(known) + 2)
        counts, lower = orders[0], probability(gram[1:], orders[1:])
        same = [number for other, number in counts.items() if other[:-1] == gram[:-1]]
        if not same:
            return lower
        once, twice = (sum(number == n for number in counts.values()) for n in (1, 2))
        discount = once / (once + 2 * twice)
        return (max(counts[gram] - discount, 0) + discount * len(same) * lower) / sum(same)

    symbols = ["<s>", "<s>", *(character if character in known else "<unk>" for character in text), "</s>"]
    grams = zip(symbols, symbols[1:], symbols[2:], strict=False)
    bits = -sum(math.log2(probability(gram, [trigrams, bigrams, unigrams])) for gram in grams)
    return bits + symbols.count("<unk>") * math.log2(NUM_CODE_POINTS - len(known))


def test_trigram_equals_the_formulas(lu_xun: list[str]) -> None:
    train, text = [lu_xun[0], lu_xun[1][:30]], lu_xun[1][20:80]
    result = NgramModels(train).measure([text])
    assert result.trigram * len(text) == pytest.approx(plain_kneser_ney(train, text), rel=1e-9)
    assert result.num_unknown == sum(character not in set("".join(train)) for character in text) > 0


def test_unigram_by_hand() -> None:
    # Four symbols share the probability: 天, 下, the end and the unknown one. 天 3, 下 1, end 2, all + 1.
    result = NgramModels(["天天天", "下"]).measure(["天下势"])
    bits = -math.log2(4 / 10) - math.log2(2 / 10) - math.log2(1 / 10) - math.log2(3 / 10)
    assert result.unigram == pytest.approx((bits + math.log2(NUM_CODE_POINTS - 2)) / 3)
    assert (result.num_characters, result.num_unknown) == (3, 1)


def test_the_trigram_beats_the_unigram_on_the_same_kind_of_text(lu_xun: list[str]) -> None:
    result = NgramModels([lu_xun[0]]).measure([lu_xun[0][60:]])
    assert result.trigram < result.unigram < 10


def test_text_without_characters_is_refused(lu_xun: list[str]) -> None:
    with pytest.raises(DataError, match="training text holds no character"):
        NgramModels([""])
    with pytest.raises(DataError, match="held-out text holds no character"):
        NgramModels(lu_xun).measure([])
