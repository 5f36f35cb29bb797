from __future__ import annotations

from collections import Counter

from pangu_alpha.evaluation.tasks.catalogue import TASKS
from pangu_alpha.evaluation.tasks.examples import choose_examples, draw, negatives, sample
from pangu_alpha.evaluation.tasks.task import Item

LABELS = ("不同", "相同")


def items_of(number: int) -> list[Item]:
    return [Item(str(one), {"first": f"甲{one}", "second": "乙"}, LABELS, int(one % 5 == 0)) for one in range(number)]


def test_wrong_choices_are_drawn_for_an_item_alone() -> None:
    labels = [f"标{number}" for number in range(15)]
    found = [negatives("标3", labels, 3, draw(7, "tnews", "negatives", name)) for name in range(400)]
    assert all(len(set(choices)) == 4 and choices[answer] == "标3" for choices, answer in found)
    places = Counter(answer for _, answer in found)
    assert all(70 < places[place] < 130 for place in range(4))
    others = Counter(choice for choices, _ in found for choice in choices if choice != "标3")
    assert len(others) == 14
    assert all(50 < number < 125 for number in others.values())


def test_the_seeds_of_this_version_are_those_of_any() -> None:
    # What was drawn once must be drawn for ever: results of two versions are compared item by item.
    assert negatives("c", "abcdefgh", 3, draw(1, "tnews", "negatives", "0")) == (("d", "b", "g", "c"), 3)
    assert [item.id for item in sample(items_of(50), 5, 1)] == ["1", "5", "33", "43", "49"]
    chosen = choose_examples(TASKS["afqmc"], items_of(50), 4, 1)
    assert [item.id for item in chosen[""]] == ["37", "35", "33", "25"]


def test_answers_of_balanced_examples_take_turns() -> None:
    for seed in range(5):
        (chosen,) = choose_examples(TASKS["bustm"], items_of(50), 4, seed).values()
        assert sorted(item.truth for item in chosen) == sorted(LABELS * 2)


def test_a_sample_keeps_the_order_and_is_without_repeats() -> None:
    chosen = [int(item.id) for item in sample(items_of(50), 20, 3)]
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 20
    assert sample(items_of(5), 20, 3) == items_of(5)
