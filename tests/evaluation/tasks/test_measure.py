from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.evaluation.tasks.planted import Planted, always_first, always_true, at_random, majority, random_choice

from pangu_alpha.errors import DataError
from pangu_alpha.evaluation.tasks.catalogue import TASKS
from pangu_alpha.evaluation.tasks.measure import Plan, load_items, make_plans, other_measurement, run_plan
from pangu_alpha.evaluation.tasks.results import Result, read_answers, summarise
from pangu_alpha.evaluation.tasks.scorer import Score
from pangu_alpha.evaluation.tasks.task import Shots, with_setting
from pangu_alpha.evaluation.tasks.wording import Question, ask
from pangu_alpha.tokenizer import Tokenizer

KINDS: tuple[Shots, ...] = ("0", "1", "few")


def measured(plans: Sequence[Plan], scorer: Planted, folder: Path) -> list[Result]:
    for plan in plans:
        run_plan(plan, scorer, folder)
    return summarise(read_answers(folder))


def plans_of(name: str, data_sets: Path) -> list[Plan]:
    return list(make_plans(TASKS[name], data_sets, KINDS, seed=1, num_seeds=1, limit=None))


def questions_of(plan: Plan, tokenizer: Tokenizer) -> list[Question]:
    return [ask(plan.task, item, [], tokenizer, 4096) for item in plan.items]


@pytest.mark.parametrize("name", TASKS)
def test_who_knows_the_truth_gets_everything(name: str, data_sets: Path, pieces: Tokenizer, tmp_path: Path) -> None:
    for result in measured(plans_of(name, data_sets), always_true(pieces), tmp_path):
        if result.metric == "perplexity":
            assert result.value == pytest.approx(2.718281828)
        else:
            assert (result.value, result.low, result.high) == (100.0, 100.0, 100.0), result


@pytest.mark.parametrize("name", TASKS)
def test_who_always_takes_the_first_gets_its_share(
    name: str, data_sets: Path, pieces: Tokenizer, tmp_path: Path
) -> None:
    plans = plans_of(name, data_sets)
    results = measured(plans, always_first(pieces), tmp_path)
    if plans[0].task.method == "generation":
        assert {result.value for result in results} == {0.0}
        assert all("answers are empty" in "".join(result.notes) for result in results)
        return
    if plans[0].task.method == "perplexity":
        return
    for result in results:
        if result.metric in ("mean", "sum"):
            items = next(plan.items for plan in plans if plan.shots == result.shots)
            assert result.value == pytest.approx(100 * sum(item.answer == 0 for item in items) / len(items))
            assert "DEGENERATE" in "".join(result.notes)


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.method == "choice"])
def test_who_guesses_gets_what_was_guessed(name: str, data_sets: Path, pieces: Tokenizer, tmp_path: Path) -> None:
    plan = plans_of(name, data_sets)[0]
    guesses = [random_choice(question) == question.item.answer for question in questions_of(plan, pieces)]
    for result in measured([plan], at_random(pieces), tmp_path):
        if result.metric in ("mean", "sum"):
            assert result.value == pytest.approx(100 * sum(guesses) / len(guesses))
            assert result.chance == pytest.approx(
                100 * sum(1 / len(item.choices) for item in plan.items) / len(guesses)
            )


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.method != "perplexity"])
def test_who_knows_only_the_majority_gets_the_baseline(
    name: str, data_sets: Path, pieces: Tokenizer, tmp_path: Path
) -> None:
    plan = plans_of(name, data_sets)[0]
    results = measured([plan], majority(pieces, questions_of(plan, pieces)), tmp_path)
    for result in results:
        if result.metric != "one_to_one":
            assert result.value == pytest.approx(result.majority), result


class KilledError(Exception):
    pass


class Mortal(Planted):
    """Dies after so many questions."""

    lives = 10

    def score(self, questions: Sequence[Question]) -> list[list[Score]]:
        self.lives -= len(questions)
        if self.lives < 0:
            raise KilledError
        return super().score(questions)


def test_a_run_that_was_killed_goes_on_to_the_same_file(data_sets: Path, pieces: Tokenizer, tmp_path: Path) -> None:
    plan = plans_of("ceval", data_sets)[2]
    whole = at_random(pieces)
    run_plan(plan, whole, tmp_path / "whole")
    mortal = Mortal("random", pieces, random_choice, lambda question: "")
    with pytest.raises(KilledError):
        run_plan(plan, mortal, tmp_path / "resumed", chunk=4)
    path = tmp_path / "resumed" / "answers" / plan.file
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1 + 8
    with path.open("a", encoding="utf-8") as file:
        file.write('{"id": "torn')
    again = at_random(pieces)
    run_plan(plan, again, tmp_path / "resumed")
    assert again.num_asked == 4
    assert path.read_bytes() == (tmp_path / "whole" / "answers" / plan.file).read_bytes()


def test_answers_to_other_questions_are_not_mixed(data_sets: Path, pieces: Tokenizer, tmp_path: Path) -> None:
    run_plan(plans_of("c3", data_sets)[0], always_true(pieces), tmp_path)
    with pytest.raises(DataError, match=r"made with other network: .*true.* now .*first.*Choose another --output"):
        run_plan(plans_of("c3", data_sets)[0], always_first(pieces), tmp_path)
    task = with_setting(TASKS["c3"], "scored", "{passage}。")
    other = next(iter(make_plans(task, data_sets, ["0"], 1, 1, None)))
    with pytest.raises(DataError, match="made with other settings"):
        run_plan(other, always_true(pieces), tmp_path)


def test_a_run_without_an_answer_stands_in_nobodys_way(data_sets: Path, pieces: Tokenizer, tmp_path: Path) -> None:
    plan = plans_of("c3", data_sets)[0]
    dead = Mortal("dead", pieces, random_choice, lambda question: "")
    dead.lives = 0
    with pytest.raises(KilledError):
        run_plan(plan, dead, tmp_path)
    run_plan(plan, always_true(pieces), tmp_path)
    (answers,) = read_answers(tmp_path)
    assert (answers.header["network"]["name"], len(answers.records)) == ("true", 7)


def test_examples_of_the_measured_split_are_not_measured(data_sets: Path) -> None:
    task = with_setting(with_setting(TASKS["afqmc"], "shot_split", "dev"), "few", "4")
    plan = next(iter(make_plans(task, data_sets, ["few"], 1, 1, None)))
    assert len(plan.items) == 9 - 4
    told = "".join(plan.examples[""])
    assert not any(item.fields["first"] in told and item.fields["second"] in told for item in plan.items)


def test_every_seed_draws_other_examples_and_zero_shot_needs_one(data_sets: Path) -> None:
    plans = list(make_plans(TASKS["iflytek"], data_sets, ["0", "few"], seed=5, num_seeds=3, limit=None))
    assert [(plan.shots, plan.seed) for plan in plans] == [("0", 5), ("few", 5), ("few", 6), ("few", 7)]
    assert len({json.dumps(plan.examples) for plan in plans[1:]}) == 3
    assert len({tuple(item.choices for item in plan.items) for plan in plans}) == 1


def test_a_limit_takes_the_same_items_for_all(data_sets: Path) -> None:
    plans = list(make_plans(TASKS["cmnli"], data_sets, KINDS, seed=3, num_seeds=1, limit=4))
    assert {tuple(item.id for item in plan.items) for plan in plans} == {tuple(item.id for item in plans[0].items)}
    assert len(plans[0].items) == 4


@pytest.mark.parametrize(
    ("name", "path", "text", "message"),
    [
        ("c3", "c3-d-dev.json", "[]", "hold no item"),
        ("c3", "c3-d-dev.json", '[[["a"], [{"question": "b", "choice": ["c"]}], "d"]]', "has no 'answer'"),
        ("c3", "c3-d-dev.json", "[1]", "is not .dialogue, questions, id."),
        ("c3", "c3-d-dev.json", "{}x", "is not JSON"),
        ("ocnli", "dev.json", '{"sentence1": "a", "sentence2": "b", "label": "yes"}', "'yes' is not one of entailment"),
        ("ocnli", "dev.json", '{"sentence1": 1, "sentence2": "b", "label": "neutral"}', "is int, and in the published"),
        ("cmrc2018", "cmrc2018_dev.json", '[{"context_text": "a", "qas": [{"query_id": "1", "query_text": "b", '
         '"answers": []}]}]', "without an answer"),
        ("cmrc2019", "cmrc2019_dev.json", '{"data": [{"context": "[BLANK1]", "context_id": "1", "choices": ["a"], '
         '"answers": []}]}', "not in the published format of cmrc2019"),
        ("cluewsc2020", "dev.json", '{"target": {"span1_text": "狐狸", "span2_text": "它", "span2_index": 0}, "label": '
         '"true", "text": "狐狸走了"}', "has no 它 at character 0"),
        ("pd", "pd.test", "1 ||| a b\n<qid_0> ||| c d ||| e", "0 blanks XXXXX"),
        ("pd", "pd.test", "1 ||| a b\n<qid_0> ||| XXXXX d", "no answer"),
        ("wplc", "test.jsonl", '{"masked_text": "a", "correct_word": "b"}', "has no <mask>"),
        ("tnews", "dev.json", '{"label_desc": "news_story", "sentence": "a"}\n\xff', "not UTF-8"),
        ("ocnli", "dev.json", '{"sentence1": "a", "sentence2": "b", "label": "neutral", "id": 7}\n' * 2, "two items"),
    ],
)  # fmt: skip
def test_files_that_are_not_as_published_are_refused(
    name: str, path: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / path).write_bytes(text.encode("latin-1") if "\xff" in text else text.encode())
    task = TASKS[name]
    with pytest.raises(DataError, match=message):
        load_items(task, tmp_path, task.split, 1)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    task = TASKS["tnews"]
    with pytest.raises(DataError, match="is no folder"):
        load_items(task, tmp_path / "nowhere", "dev", 1)
    (tmp_path / "dev.json").write_text("{}", encoding="utf-8")  # of which data set is it?
    with pytest.raises(DataError, match=r"holds nothing called tnews: .*tnews.zip"):
        load_items(task, tmp_path, "dev", 1)
    (tmp_path / "tnews").mkdir()
    with pytest.raises(DataError, match=r"no file of its dev split in .*published as dev.json"):
        load_items(task, tmp_path, "dev", 1)
    (tmp_path / "tnews" / "data.zip").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(DataError, match="is no whole zip"):
        load_items(task, tmp_path, "dev", 1)


def test_too_few_examples_are_said(data_sets: Path) -> None:
    task = with_setting(TASKS["c3"], "few", "99")
    with pytest.raises(DataError, match=r"99 worked examples are wanted, .* has 6 item\(s\): .*c3.few=6"):
        list(make_plans(task, data_sets, ["few"], 1, 1, None))


def test_the_original_form_of_chid_and_its_other_blanks(tmp_path: Path) -> None:
    # Lines of Python, a list of candidates a blank; what belongs into the other blank is not given away.
    choices = [["日新月异", "一日千里"], ["沧海一粟", "随波逐流"]]
    record = {"groundTruth": ["日新月异", "随波逐流"], "candidates": choices, "content": "变得#idiom#，不要#idiom#。"}
    (tmp_path / "chid").mkdir()
    (tmp_path / "chid" / "dev.txt").write_text(f"{record}\n", encoding="utf-8")
    first, second = load_items(TASKS["chid"], tmp_path, "dev", 1)
    assert (first.fields, first.truth) == ({"left": "变得", "right": "，不要……。"}, "日新月异")
    assert (second.fields, second.truth) == ({"left": "变得……，不要", "right": "。"}, "随波逐流")
    assert second.choices == ("沧海一粟", "随波逐流")


def test_one_folder_holds_one_network_and_one_measurement(data_sets: Path, pieces: Tokenizer, tmp_path: Path) -> None:
    """Whatever the file is called: another seed, other examples, another task."""
    run_plan(plans_of("c3", data_sets)[0], always_true(pieces), tmp_path)
    other_seed = next(iter(make_plans(TASKS["c3"], data_sets, ["0"], 2, 1, None)))
    for plan in (other_seed, plans_of("c3", data_sets)[1], plans_of("ocnli", data_sets)[0]):
        with pytest.raises(DataError, match=r'other network: {"name": "true"}, and now {"name": "first"}'):
            run_plan(plan, always_first(pieces), tmp_path)
    mixed = with_setting(TASKS["c3"], "split", "dev_mixed")
    with pytest.raises(DataError, match=r'other settings: {"split": "dev"}, and now {"split": "dev_mixed"}'):
        run_plan(next(iter(make_plans(mixed, data_sets, ["0"], 2, 1, None))), always_true(pieces), tmp_path)


def test_a_network_is_known_by_its_weights_and_not_by_its_path() -> None:
    header = {"task": "c3", "settings": {}, "network": {"name": "run", "step": 2, "checkpoint": "a"}}
    moved = {**header, "network": {**header["network"], "name": "/there/run"}}  # type: ignore[dict-item]
    trained = {**header, "network": {**header["network"], "checkpoint": "b"}}  # type: ignore[dict-item]
    assert (other_measurement(header, moved), other_measurement(header, trained)) == ("", "network")


def test_choices_drawn_for_each_item_go_to_no_item_each(data_sets: Path, pieces: Tokenizer, tmp_path: Path) -> None:
    task = with_setting(TASKS["cmrc2019"], "num_choices", "2")
    plans = list(make_plans(task, data_sets, ["0"], 1, 1, None))
    assert {result.metric for result in measured(plans, always_true(pieces), tmp_path)} == {"mean", "sum"}


def afqmc(folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    (folder / "dev.json").write_text(text, encoding="utf-8")


def test_a_file_that_is_there_twice_is_not_counted_twice(tmp_path: Path) -> None:
    text = '{"sentence1": "甲", "sentence2": "乙", "label": "0"}\n'
    afqmc(tmp_path / "afqmc", text)
    assert len(load_items(TASKS["afqmc"], tmp_path, "dev", 1)) == 1
    with zipfile.ZipFile(tmp_path / "afqmc" / "afqmc_public.zip", "w") as archive:
        archive.writestr("dev.json", text)
    with pytest.raises(DataError, match=r"dev.json is there twice, as .*take one away"):
        load_items(TASKS["afqmc"], tmp_path, "dev", 1)


def test_what_is_no_text_and_what_is_damaged_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "webqa").mkdir()
    record = {"question": "几条腿？", "evidences": {"e": {"answer": [5]}}}
    (tmp_path / "webqa" / "me_test.ann.json").write_text(json.dumps({"Q": record}), encoding="utf-8")
    with pytest.raises(DataError, match="no text where a text should be"):
        load_items(TASKS["webqa"], tmp_path, "test", 1)
    (tmp_path / "cmrc2019").mkdir()
    passage = {"context": "[BLANK1]。", "context_id": "P", "choices": ["甲", "乙"], "answers": ["1"]}
    (tmp_path / "cmrc2019" / "cmrc2019_dev.json").write_text(json.dumps({"data": [passage]}), encoding="utf-8")
    with pytest.raises(DataError, match="a wrong answer's place"):
        load_items(TASKS["cmrc2019"], tmp_path, "dev", 1)
    (tmp_path / "ceval" / "val").mkdir(parents=True)
    (tmp_path / "ceval" / "val" / "logic_val.csv").write_text(f"id,question\n1,{'长' * 140_000}\n", encoding="utf-8")
    limit = csv.field_size_limit(131_072)  # Python's own, which other packages raise
    with pytest.raises(DataError, match=r"logic_val.csv is not CSV"):
        load_items(TASKS["ceval"], tmp_path, "val", 1)
    csv.field_size_limit(limit)
    (tmp_path / "c3").mkdir()
    entry = ["对话", [{"question": "问", "choice": ["甲", "乙"], "answer": "甲"}], "1"]
    (tmp_path / "c3" / "c3-d-dev.json").write_text(json.dumps([entry]), encoding="utf-8")
    with pytest.raises(DataError, match=r"is not \[dialogue, questions, id\]"):
        load_items(TASKS["c3"], tmp_path, "dev", 1)
    entry = [["话"], [{"question": "问\ud800", "choice": ["甲", "乙"], "answer": "甲"}], "1"]
    (tmp_path / "c3" / "c3-d-dev.json").write_text(json.dumps([entry]), encoding="utf-8")
    with pytest.raises(DataError, match="no text where a text should be"):
        load_items(TASKS["c3"], tmp_path, "dev", 1)
    (tmp_path / "chid").mkdir()
    cloze = {"content": ["这是#idiom1#。"], "candidates": ["一日千里", "随波逐流"]}
    (tmp_path / "chid" / "dev.json").write_text(json.dumps(cloze), encoding="utf-8")
    with pytest.raises(DataError, match=r"whose name ends in _answer.json"):
        load_items(TASKS["chid"], tmp_path, "dev", 1)
    with zipfile.ZipFile(tmp_path / "csl_public.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dev.json", "甲乙" * 5000)
    damaged = bytearray((tmp_path / "csl_public.zip").read_bytes())
    damaged[40:60] = b"\xff" * 20
    (tmp_path / "csl_public.zip").write_bytes(damaged)
    with pytest.raises(DataError, match="cannot be unpacked"):
        load_items(TASKS["csl"], tmp_path, "dev", 1)
