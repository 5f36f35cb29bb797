from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.errors import DataError
from pangu_alpha.evaluation.tasks.results import Result, read_answers, summarise

NLI = ("对", "或许", "错")


def write(
    folder: Path, task: str, records: Sequence[dict[str, Any]], shots: str = "0", seed: int = 1, **more: Any
) -> None:
    header = {"task": task, "shots": shots, "seed": seed, "settings": {}, "num_items": len(records)} | more
    header |= {"network": {"name": "n", "parameters": 10}, "items": "x", "examples": {}}
    (folder / "answers").mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(one, ensure_ascii=False) + "\n" for one in [header, *records]]
    (folder / "answers" / f"{task}.{shots}.{seed}.jsonl").write_text("".join(lines), encoding="utf-8")


def choice(
    name: int, answer: int, by_mean: int, by_sum: int, choices: Sequence[str] = NLI, **more: Any
) -> dict[str, Any]:
    mean = [1.0 if place == by_mean else 2.0 + place for place in range(len(choices))]
    record = {"id": str(name), "group": "", "examples": 0, "limit": None, "choices": list(choices), "answer": answer}
    record |= {"references": [], "mean": mean, "nats": mean, "tokens": [1] * len(choices)}
    record |= {"prediction": {"mean": by_mean, "sum": by_sum}}
    record |= {"metrics": {"mean": float(by_mean == answer), "sum": float(by_sum == answer)}}
    return record | more


def text(name: int, said: str, reference: str) -> dict[str, Any]:
    record = {"id": str(name), "group": "", "examples": 0, "limit": None, "choices": [], "answer": 0}
    record |= {"references": [reference], "prediction": said, "continuation": said}
    return record | {"metrics": {"accuracy": float(said == reference)}}


def results_of(folder: Path) -> dict[str, Result]:
    return {result.metric: result for result in summarise(read_answers(folder))}


def test_numbers_and_what_stands_beside_them(tmp_path: Path) -> None:
    # 6 of 10 right by mean, 3 by sum; the truth is 对 five times.
    truths = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2]
    by_mean = [0, 0, 0, 0, 1, 1, 1, 2, 1, 1]
    by_sum = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    answers = zip(truths, by_mean, by_sum, strict=True)
    write(tmp_path, "ocnli", [choice(name, *one) for name, one in enumerate(answers)])
    results = results_of(tmp_path)
    mean, total = results["mean"], results["sum"]
    assert (mean.value, total.value) == pytest.approx((60.0, 30.0))
    assert (mean.chance, mean.majority) == pytest.approx((100 / 3, 50.0))
    assert (mean.paper, total.paper) == ((42.61, 41.53), None)
    assert mean.notes == ("DEGENERATE (sum): always '或许'",)
    assert results_of(tmp_path) == results  # the resamples are drawn from a seed


def test_an_interval_is_that_of_a_share(tmp_path: Path) -> None:
    write(tmp_path, "ocnli", [choice(one, one % 3, one % 3 if one % 5 else (one + 1) % 3, 0) for one in range(400)])
    result = results_of(tmp_path)["mean"]
    half = 196 * math.sqrt(0.8 * 0.2 / 400)
    assert result.value == pytest.approx(80.0)
    assert result.low == pytest.approx(80 - half, abs=0.6)
    assert result.high == pytest.approx(80 + half, abs=0.6)


def test_seeds_are_averaged_and_widen_the_interval(tmp_path: Path) -> None:
    for seed, hits in ((1, 2), (2, 8)):
        records = [choice(one, 0, 0 if one < hits else 1, 0, examples=3) for one in range(10)]
        write(tmp_path, "ocnli", records, "few", seed)
    result = results_of(tmp_path)["mean"]
    assert result.value == pytest.approx(50.0)
    assert result.seeds == pytest.approx((20.0, 80.0))
    assert result.low < 20
    assert result.high > 80


def test_what_is_suspicious_is_said(tmp_path: Path) -> None:
    labels = ("不同", "相同")
    tied = choice(0, 0, 0, 0, labels, mean=[1.5, 1.5])
    write(
        tmp_path, "afqmc", [tied, *(choice(one, one % 2, one // 2 % 2, 0, labels) for one in range(1, 8))], num_items=9
    )
    write(tmp_path, "pd", [text(0, "", "老虎"), text(1, "", "狐狸"), text(2, "河", "河")])
    write(tmp_path, "cft", [text(one, "的", "河") for one in range(3)])
    write(
        tmp_path,
        "csl",
        [choice(one, one % 2, one % 2, one % 2, labels, limit=9, examples=one) for one in range(5)],
        "few",
    )
    notes = {result.task: result.notes for result in summarise(read_answers(tmp_path))}
    assert notes["afqmc"] == (
        "not finished: 1 items are missing",
        "SUSPICIOUS (mean): exactly 50 % of two choices",
        "DEGENERATE (sum): always '不同'",
        "SUSPICIOUS (sum): exactly 50 % of two choices",
        "SUSPICIOUS: 1 of 8 items have two candidates of the same score",
    )
    assert notes["pd"] == ("DEGENERATE: 2 of 3 answers are empty",)
    assert notes["cft"] == ("DEGENERATE: every answer is '的'",)
    assert notes["csl"] == ("5 of 5 items had room for fewer examples", "5 of 5 items were shortened")


def test_the_majority_of_free_answers_is_the_commonest_reference(tmp_path: Path) -> None:
    write(
        tmp_path,
        "pd",
        [text(0, "x", "老虎"), text(1, "y", "河"), text(2, "z", "河"), text(3, "老虎", "老虎"), text(4, "", "河")],
    )
    result = results_of(tmp_path)["accuracy"]
    assert (result.value, result.chance, result.majority) == (20.0, None, 60.0)


def test_settings_are_those_that_it_was_asked_with(tmp_path: Path) -> None:
    # Each item offers two of the labels: 错 is right most often, but not in one place.
    records = [
        choice(0, 0, 0, 0, ("错", "对")),
        choice(1, 1, 0, 0, ("对", "错")),
        choice(2, 1, 0, 0, ("对", "错")),
        choice(3, 0, 0, 0, ("对", "或许"), examples=1),
    ]
    write(tmp_path, "few_tnews", records, "few", settings={"num_choices": 2, "few": 1})
    result = results_of(tmp_path)["mean"]
    assert result.majority == 100.0
    assert "3 of 4 items had room for fewer examples" in result.notes


def test_a_perplexity_is_of_all_tokens_together(tmp_path: Path) -> None:
    words = [
        {**text(one, "", "词"), "choices": [], "nats": [nats], "tokens": [tokens], "metrics": {"greedy": 0.0}}
        for one, (nats, tokens) in enumerate([(2.0, 1), (3.0, 4)])
    ]
    write(tmp_path, "wplc", words)
    result = results_of(tmp_path)["perplexity"]
    assert result.value == pytest.approx(math.exp(5 / 5))
    assert result.low == pytest.approx(math.exp(3 / 4))
    assert result.high == pytest.approx(math.exp(2 / 1))
    assert result.paper == (16.70, 19.18)


def test_each_sentence_can_be_given_to_one_blank(tmp_path: Path) -> None:
    # By itself each blank takes the first sentence; together the first blank needs it more.
    records = [
        choice(0, 0, 0, 0, ("甲", "乙"), mean=[1.0, 9.0], group="p"),
        choice(1, 1, 0, 0, ("甲", "乙"), mean=[2.0, 3.0], group="p"),
        choice(2, 1, 0, 0, ("甲", "乙"), mean=[1.0, 2.0], group="q"),
    ]
    write(tmp_path, "cmrc2019", records)
    results = results_of(tmp_path)
    assert results["mean"].value == pytest.approx(100 / 3)
    assert results["one_to_one"].value == pytest.approx(200 / 3)


def test_what_holds_no_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no answers"):
        read_answers(tmp_path)
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "x.jsonl").write_text('{"task": "ocnlii"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"x.jsonl is not a file of answers"):
        read_answers(tmp_path)


def test_seeds_are_compared_on_what_all_have_answered(tmp_path: Path) -> None:
    """The second seed was killed after two items: these two, not the first two of each file, and it is said."""
    whole = [choice(number, 0, number % 2, 0) for number in range(4)]
    write(tmp_path, "ocnli", whole, "few", 1, num_items=4)
    write(tmp_path, "ocnli", [choice(3, 0, 0, 0), choice(1, 0, 0, 0)], "few", 2, num_items=4)
    result = next(one for one in summarise(read_answers(tmp_path)) if one.metric == "mean")
    assert (result.num_items, result.seeds) == (2, (0.0, 100.0))
    assert "not finished: 2 items are missing" in result.notes


def test_seeds_of_two_measurements_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "ocnli", [choice(0, 0, 0, 0)], "few", 1)
    write(tmp_path, "ocnli", [choice(0, 0, 0, 0)], "few", 2)
    path = tmp_path / "answers" / "ocnli.few.2.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"name": "n"', '"name": "m"'), encoding="utf-8")
    with pytest.raises(DataError, match="are of other network, and so no two seeds of one measurement"):
        summarise(read_answers(tmp_path))
