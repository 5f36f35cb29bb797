"""What is wrong in the published evaluator (mindspore-lab/pangu_alpha) must not be wrong here: one test a defect."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.evaluation.tasks.planted import always_first, always_true

from pangu_alpha.evaluation.tasks.answers import begins_with_word
from pangu_alpha.evaluation.tasks.catalogue import TASKS
from pangu_alpha.evaluation.tasks.measure import load_items, make_plans, run_plan
from pangu_alpha.evaluation.tasks.results import read_answers, summarise
from pangu_alpha.evaluation.tasks.task import Item
from pangu_alpha.evaluation.tasks.wording import ask
from pangu_alpha.tokenizer import Tokenizer


@pytest.mark.parametrize("name", ["tnews", "iflytek", "afqmc"])
@pytest.mark.parametrize("shots", ["0", "1", "few"])
def test_1_masks_count_tokens_and_not_words(name: str, shots: str, data_sets: Path, released: Tokenizer) -> None:
    # There the mask opened as many tokens too early as the prompt has more tokens than words: 23 on average.
    (plan,) = make_plans(TASKS[name], data_sets, [shots], 1, 1, None)  # type: ignore[list-item]
    for item in plan.items:
        for candidate in ask(plan.task, item, plan.examples[""], released, 1024).candidates:
            assert released.decode(candidate.ids[candidate.start :]) == released.decode(
                released.encode(candidate.scored)
            )


@pytest.mark.parametrize("name", ["pd", "cft", "cmrc2017"])
def test_2_the_length_of_the_answer_is_not_given_away(name: str, data_sets: Path, pieces: Tokenizer) -> None:
    # There as many tokens were generated as the answer has, or only as many characters compared.
    items = load_items(TASKS[name], data_sets, TASKS[name].split, 1)
    short, long = items[0], Item("x", items[0].fields, references=("一只很大很大的老虎",))
    asked = [ask(TASKS[name], item, [], pieces, 512) for item in (short, long)]
    assert asked[0].candidates == asked[1].candidates
    assert {question.task.max_new_tokens for question in asked} == {16}
    assert begins_with_word("老虎皮很贵", ["老虎"]) == 0.0  # of which the first two characters are right


@pytest.mark.parametrize(("name", "second"), [("cmrc2018", "山上"), ("drcd", "狐狸")])
def test_3_every_reference_counts_and_the_article_keeps_its_front(
    name: str, second: str, data_sets: Path, pieces: Tokenizer
) -> None:
    items = load_items(TASKS[name], data_sets, TASKS[name].split, 1)
    assert second in items[{"山上": 2, "狐狸": 1}[second]].references[1:]
    item = Item("x", {**items[0].fields, "passage": "开头" + items[0].fields["passage"] * 20}, references=("河",))
    (candidate,) = ask(TASKS[name], item, [], pieces, 200).candidates
    assert candidate.context.startswith("阅读文章：开头")
    assert candidate.context.endswith("\n答：")


def test_4_masks_do_not_rely_on_tokens_that_stay_and_blanks_are_scored_alone(
    data_sets: Path, released: Tokenizer, pieces: Tokenizer, tmp_path: Path
) -> None:
    task = TASKS["cmrc2019"]
    item = Item("x", {"left": "他们参加了北京大", "right": "，很快回来了"}, ("学生的活动", "学，然后吃饭"), 0)
    assert released.encode("他们参加了北京大学生的活动")[: len(released.encode("他们参加了北京大"))] != released.encode(
        "他们参加了北京大"
    )
    for candidate in ask(task, item, [], released, 1024).candidates:
        paid = released.decode(candidate.ids[candidate.start :])
        assert released.decode(released.encode(candidate.scored)) in paid
    (plan,) = make_plans(task, data_sets, ["0"], 1, 1, None)
    run_plan(plan, always_first(pieces), tmp_path)
    results = {result.metric: result.value for result in summarise(read_answers(tmp_path))}
    assert results["mean"] == 50.0  # each blank by itself; one to one is a measure of its own
    assert results["one_to_one"] != results["mean"]


def test_5_rouge_1_stands_beside_the_papers_rouge_1_and_rouge_l_alone(
    data_sets: Path, pieces: Tokenizer, tmp_path: Path
) -> None:
    (plan,) = make_plans(TASKS["dureader"], data_sets, ["0"], 1, 1, None)
    run_plan(plan, always_true(pieces), tmp_path)
    papers = {result.metric: result.paper for result in summarise(read_answers(tmp_path))}
    assert papers == {"rouge_1": (21.07, 24.46), "rouge_l": None}
    (c3,) = make_plans(TASKS["c3"], data_sets, ["0"], 1, 1, None)
    assert len(c3.items) == 7  # there the split was an empty list


def test_6_everything_random_comes_from_the_seed(data_sets: Path, pieces: Tokenizer, tmp_path: Path) -> None:
    for name in ("tnews", "pd"):
        for folder in ("one", "two"):
            for plan in make_plans(TASKS[name], data_sets, ["few"], 4, 1, 3):
                run_plan(plan, always_true(pieces), tmp_path / folder)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / x / "answers").iterdir()} for x in ("one", "two"))
    assert one == two
    (other,) = make_plans(TASKS["tnews"], data_sets, ["few"], 5, 1, 3)
    (same,) = make_plans(TASKS["tnews"], data_sets, ["few"], 4, 1, 3)
    assert other.examples != same.examples
    assert [item.choices for item in other.items] != [item.choices for item in same.items]
