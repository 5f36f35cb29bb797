from __future__ import annotations

import itertools
import random

import pytest

from pangu_alpha.evaluation.tasks.answers import begins_with_word, exact_match, f1, rouge_1, rouge_l, units


def runs(text: str) -> set[str]:
    return {text[start:end] for start in range(len(text)) for end in range(start + 1, len(text) + 1)}


def subsequences(text: str) -> set[str]:
    return {"".join(part) for size in range(len(text) + 1) for part in itertools.combinations(text, size)}


def test_measures_are_those_of_their_definitions() -> None:
    generator = random.Random(1)
    for _ in range(200):
        answer, reference = ("".join(generator.choices("天地玄黄", k=generator.randint(1, 7))) for _ in range(2))
        both = len(answer) + len(reference)
        longest_run = max(map(len, runs(answer) & runs(reference)), default=0)
        assert f1(answer, [reference]) == pytest.approx(2 * longest_run / both)
        longest = max(map(len, subsequences(answer) & subsequences(reference)))
        assert rouge_l(answer, [reference]) == pytest.approx(2 * longest / both)
        common = sum(min(answer.count(unit), reference.count(unit)) for unit in set(answer))
        assert rouge_1(answer, [reference]) == pytest.approx(2 * common / both)


def test_units_are_characters_and_words_without_case_and_punctuation() -> None:
    assert units("《Hello World》，在2013年！_") == ["hello", "world", "在", "2013", "年"]
    assert exact_match("“北京，大学”。", ["清华", "北京大学"]) == 1.0
    assert exact_match("北京大", ["北京大学"]) == 0.0


@pytest.mark.parametrize("measure", [exact_match, f1, rouge_1, rouge_l])
def test_the_best_of_several_references_counts(measure: object) -> None:
    assert callable(measure)
    assert measure("桥头", ["老虎", "山上", "桥头"]) == 1.0
    assert measure("桥头", ["老虎", "山上"]) == 0.0
    assert measure("", ["老虎"]) == 0.0


@pytest.mark.parametrize(
    ("continuation", "answer", "is_right"),
    [
        ("老虎打了起来。", "老虎", 1.0),
        ("老虎", "老虎", 1.0),
        ("中国人民很高兴", "中", 0.0),  # another word begins with it
        ("老", "老虎", 0.0),
        ("一只老虎", "老虎", 0.0),
        (" 老虎来了", "老虎", 1.0),
        ("", "老虎", 0.0),
    ],
)
def test_a_word_counts_where_it_ends(continuation: str, answer: str, is_right: float) -> None:
    assert begins_with_word(continuation, [answer]) == is_right


def test_nothing_is_right_by_having_no_character_that_counts() -> None:
    assert [exact_match(said, ["……"]) for said in ("", "。", "……")] == [0.0, 0.0, 1.0]
    assert f1("", ["……"]) == rouge_1("。", ["……"]) == 0.0
