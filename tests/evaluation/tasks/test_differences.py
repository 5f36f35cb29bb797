from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.evaluation.tasks.test_results import choice, text, write

from pangu_alpha.errors import DataError
from pangu_alpha.evaluation.tasks.differences import compare
from pangu_alpha.evaluation.tasks.results import read_answers, summarise


def test_every_item_is_compared(tmp_path: Path) -> None:
    write(tmp_path / "a", "ocnli", [choice(one, 0, one % 2, 0) for one in range(12)])
    write(tmp_path / "b", "ocnli", [choice(one, 0, 0 if one < 11 else 1, 0) for one in range(12)])
    by_mean, by_sum = compare(read_answers(tmp_path / "a"), read_answers(tmp_path / "b"))
    assert (by_mean.metric, by_mean.num_items) == ("mean", 12)
    assert (by_mean.before, by_mean.after) == pytest.approx((50.0, 100 * 11 / 12))
    assert [change.id for change in by_mean.better] == ["1", "3", "5", "7", "9"]
    assert (by_mean.better[0].said_before, by_mean.better[0].said_after) == ("或许", "对")
    assert by_mean.worse == ()
    assert by_mean.p_value == pytest.approx(2 / 2**5)
    assert (by_sum.better, by_sum.worse, by_sum.p_value) == ((), (), 1.0)
    assert by_mean.notes == ()


def test_what_is_not_the_same_is_said(tmp_path: Path) -> None:
    write(tmp_path / "a", "pd", [text(0, "河", "河"), text(1, "山", "河")], settings={"top_p": 0.9})
    write(tmp_path / "b", "pd", [text(1, "河", "河"), text(2, "山", "河")])
    (tmp_path / "b/answers/pd.0.1.jsonl").write_text(
        (tmp_path / "b/answers/pd.0.1.jsonl").read_text(encoding="utf-8").replace('"items": "x"', '"items": "y"'),
        encoding="utf-8",
    )
    (found,) = compare(read_answers(tmp_path / "a"), read_answers(tmp_path / "b"))
    assert [change.said_after for change in found.better] == ["河"]
    assert found.notes == ("top_p was 0.9 and is None", "the items are not the same", "2 items are in one of them only")


def test_results_with_nothing_in_common_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", "pd", [text(0, "河", "河")])
    write(tmp_path / "b", "pd", [text(1, "河", "河")])
    write(tmp_path / "c", "pd", [text(0, "河", "河")], "few")
    with pytest.raises(DataError, match="have no item in common"):
        compare(read_answers(tmp_path / "a"), read_answers(tmp_path / "b"))
    with pytest.raises(DataError, match="no task with the same number of examples and seed"):
        compare(read_answers(tmp_path / "a"), read_answers(tmp_path / "c"))


def test_words_are_compared_where_nobody_knows_the_likeliest(tmp_path: Path) -> None:
    """Ranks that share a network do not: their answers and those of one process have the words' costs in common."""

    def word(name: int, nats: float, metrics: dict[str, float]) -> dict[str, Any]:
        record = {"id": str(name), "group": "", "examples": 0, "limit": None, "choices": [], "answer": 0}
        return record | {"references": ["虎"], "nats": [nats], "tokens": [2], "mean": [nats / 2], "metrics": metrics}

    write(tmp_path / "a", "wplc", [word(one, 4.0, {"greedy": 0.0}) for one in range(3)])
    write(tmp_path / "b", "wplc", [word(one, 4.0 - one, {}) for one in range(3)])
    for before, after in (("a", "b"), ("b", "a")):
        (found,) = compare(read_answers(tmp_path / before), read_answers(tmp_path / after))
        assert (found.label, found.num_items) == ("p (token)", 3)
        assert len(found.better if before == "a" else found.worse) == 2
    # One network, computed in two ways.
    write(tmp_path / "d", "wplc", [word(one, 4.0 + 1e-4, {}) for one in range(3)])
    (found,) = compare(read_answers(tmp_path / "a"), read_answers(tmp_path / "d"))
    assert (found.better, found.worse, found.p_value) == ((), (), 1.0)
    # One file of both kinds, as when a run in one process is finished by ranks.
    write(tmp_path / "c", "wplc", [word(0, 4.0, {"greedy": 0.0}), word(1, 4.0, {})])
    assert [one.metric for one in summarise(read_answers(tmp_path / "c"))] == ["perplexity"]
