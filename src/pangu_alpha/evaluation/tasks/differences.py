"""Two results compared item by item."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from pangu_alpha.errors import DataError
from pangu_alpha.evaluation.tasks.results import LABELS, Answers
from pangu_alpha.evaluation.tasks.task import Task
from pangu_alpha.records import Record

LIKELIHOOD = "likelihood"
"""Of a word's tokens, their geometric mean: what two perplexities are compared by, item by item."""
_SAME = 1e-4
"""Share by which two values must differ to be two: of likelihoods 1e-4 nats a token, to which two ways of computing one
network agree."""


@dataclass(frozen=True)
class Change:
    """An item that two networks answer differently well."""

    id: str
    before: float
    after: float
    said_before: str
    said_after: str


@dataclass(frozen=True)
class Difference:
    """One measure of one file of answers in two results."""

    task: str
    shots: str
    seed: int
    metric: str
    num_items: int
    before: float
    after: float
    """Means, in percent."""
    better: tuple[Change, ...]
    worse: tuple[Change, ...]
    p_value: float
    """How likely so uneven a split into better and worse is by chance alone (two-sided sign test)."""
    notes: tuple[str, ...]

    @property
    def label(self) -> str:
        """The measure, as the tables name it."""
        return LABELS[self.metric]


def compare(before: Sequence[Answers], after: Sequence[Answers]) -> list[Difference]:
    """Every measure of every task, number of examples and seed that both have.

    Raises:
        DataError: they have none in common, or nothing of one in common.
    """
    others = {_key(one): one for one in after}
    pairs = [(one, others[_key(one)]) for one in before if _key(one) in others]
    if not pairs:
        raise DataError("the two results have no task with the same number of examples and seed in common")
    return [difference for first, second in pairs for difference in _compare(first, second)]


def _key(answers: Answers) -> tuple[str, str, int]:
    header = answers.header
    return header["task"], header["shots"], header["seed"]


def _compare(before: Answers, after: Answers) -> list[Difference]:
    others = {record["id"]: record for record in after.records}
    pairs = [(record, others[record["id"]]) for record in before.records if record["id"] in others]
    if not pairs:
        raise DataError(f"{before.path} and {after.path} have no item in common")
    notes = _other_settings(before.header, after.header)
    alone = len(before.records) + len(after.records) - 2 * len(pairs)
    if alone:
        notes.append(f"{alone:,} items are in one of them only")
    found = []
    for metric in _metrics(before.task, pairs):
        values = [(_worth(first, metric), _worth(second, metric)) for first, second in pairs]
        changes = [_change(first, second, metric) for first, second in pairs]
        better = tuple(change for change in changes if change.after > change.before * (1 + _SAME))
        worse = tuple(change for change in changes if change.before > change.after * (1 + _SAME))
        num_changed = len(better) + len(worse)
        p_value = float(binomtest(len(better), num_changed).pvalue) if num_changed else 1.0
        means = [100 * sum(side) / len(pairs) for side in zip(*values, strict=True)]
        found.append(
            Difference(*_key(before), metric, len(pairs), means[0], means[1], better, worse, p_value, tuple(notes))
        )
    return found


def _metrics(task: Task, pairs: Sequence[tuple[Record, Record]]) -> list[str]:
    """What all records of both have; of words, also how likely each was."""
    known = pairs[0][0]["metrics"]
    names = [name for name in known if all(name in record["metrics"] for pair in pairs for record in pair)]
    return [*names, LIKELIHOOD] if task.method == "perplexity" else names


def _worth(record: Record, metric: str) -> float:
    if metric == LIKELIHOOD:
        return math.exp(-min(float(record["mean"][0]), 700.0))
    return float(record["metrics"][metric])


def _other_settings(before: Record, after: Record) -> list[str]:
    names = {**before["settings"], **after["settings"]}
    notes = [
        f"{name} was {before['settings'].get(name)!r} and is {after['settings'].get(name)!r}"
        for name in names
        if before["settings"].get(name) != after["settings"].get(name)
    ]
    if before["items"] != after["items"]:
        notes.append("the items are not the same")
    if before["examples"] != after["examples"]:
        notes.append("the worked examples are not the same")
    return notes


def _change(before: Record, after: Record, metric: str) -> Change:
    said = [_said(record, metric) for record in (before, after)]
    return Change(before["id"], _worth(before, metric), _worth(after, metric), *said)


def _said(record: Record, metric: str) -> str:
    prediction = record.get("prediction")
    if prediction is None:
        return f"{record['nats'][0]:.2f} nats"
    return str(record["choices"][prediction[metric]]) if isinstance(prediction, dict) else str(prediction)
