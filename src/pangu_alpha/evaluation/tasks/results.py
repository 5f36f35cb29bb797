"""What the answers amount to, and what belongs beside it: chance, majority, an interval, what is suspicious."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from pangu_alpha.errors import DataError
from pangu_alpha.evaluation.tasks.catalogue import TASKS
from pangu_alpha.evaluation.tasks.measure import ANSWERS, judge, other_measurement
from pangu_alpha.evaluation.tasks.paper import Pair, paper_value
from pangu_alpha.evaluation.tasks.task import SETTINGS, Task
from pangu_alpha.reading import list_folder
from pangu_alpha.records import Record, read_records

LABELS = {
    "mean": "Acc (mean)", "sum": "Acc (sum)", "one_to_one": "Acc (one to one)", "accuracy": "Acc", "em": "EM",
    "f1": "F1", "rouge_1": "Rouge-1", "rouge_l": "Rouge-L", "perplexity": "PPL", "greedy": "Acc (greedy)",
    "likelihood": "p (token)",
}  # fmt: skip
_RESAMPLES = 1000
_SEED = 20210426


@dataclass(frozen=True)
class Result:
    """One measure of one task with one number of examples. All but a perplexity in percent."""

    task: str
    title: str
    metric: str
    shots: str
    num_items: int
    value: float
    low: float
    high: float
    """95 % of the resamples of items (and of seeds, where there are several) lie between these."""
    seeds: tuple[float, ...]
    """The value of each seed of examples."""
    chance: float | None
    majority: float | None
    paper: Pair | None
    """The paper's 2.6B and 13B."""
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """For results.json."""
        return asdict(self)


@dataclass(frozen=True)
class Answers:
    """One file of answers."""

    path: Path
    header: Record
    records: list[Record]

    @property
    def task(self) -> Task:
        """The task, with the settings that it was asked with."""
        settings = {name: value for name, value in self.header["settings"].items() if name in SETTINGS}
        return dataclasses.replace(TASKS[self.header["task"]], **settings)


def read_answers(folder: Path) -> list[Answers]:
    """All that a result's folder holds, in the order of the tables.

    Raises:
        DataError: it holds nothing, or a file is none of answers.
    """
    found = []
    for path in list_folder(folder / ANSWERS, "*.jsonl"):
        records = read_records(path)
        if not records or records[0].get("task") not in TASKS or any("metrics" not in record for record in records[1:]):
            raise DataError(f"{path} is not a file of answers of a task that this version knows")
        if len(records) > 1:
            found.append(Answers(path, records[0], records[1:]))
    if not found:
        raise DataError(f"{folder} holds no answers: give a folder that `pangu evaluate tasks --output` has written")
    order, shots = list(TASKS), ["0", "1", "few"]
    return sorted(found, key=lambda one: (order.index(one.header["task"]), shots.index(one.header["shots"]), one.path))


def summarise(answers: Sequence[Answers]) -> list[Result]:
    """The results of all files, those of several seeds together."""
    together: dict[tuple[str, str], list[Answers]] = defaultdict(list)
    for one in answers:
        together[one.header["task"], one.header["shots"]].append(one)
    return [result for several in together.values() for result in _of_task(several)]


def _of_task(several: Sequence[Answers]) -> list[Result]:
    _require_alike(several)
    missing = sum(one.header["num_items"] - len(one.records) for one in several)
    several = _answered_by_all(several)
    task, records = several[0].task, several[0].records
    columns: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for one in several:
        for name, values in _columns(task, one.records).items():
            columns[name].append(values)
    notes = _notes(task, several, missing)
    results = []
    for metric, of_seeds in columns.items():
        # [seeds, items, 2]: each value is a quotient of two sums.
        values = np.stack(of_seeds)
        low, high = _interval(values, metric)
        chance, majority = _baselines(task, metric, records)
        results.append(
            Result(
                task.name,
                task.title,
                metric,
                several[0].header["shots"],
                len(records),
                _value(values, metric),
                low,
                high,
                tuple(_value(one[None], metric) for one in values),
                chance,
                majority,
                paper_value(task.name, metric, several[0].header["shots"]),
                notes,
            )
        )
    return results


def _require_alike(several: Sequence[Answers]) -> None:
    """Refuse seeds that are none of one measurement."""
    first = several[0]
    for other in several[1:]:
        if problem := other_measurement(first.header, other.header):
            raise DataError(
                f"{first.path} and {other.path} are of other {problem}, and so no two seeds of one measurement: keep "
                "each in a folder of its own"
            )


def _answered_by_all(several: Sequence[Answers]) -> list[Answers]:
    """With the items that every seed has answered, in one order. (Which are examples can differ.)"""
    common = set.intersection(*({record["id"] for record in one.records} for one in several))
    if not common:
        paths = " and ".join(str(one.path) for one in several)
        raise DataError(f"{paths} have answered no item in common: give the same command again, which goes on")
    if len(several) == 1:
        return list(several)
    kept = []
    for one in several:
        answered = {record["id"]: record for record in one.records}
        kept.append(dataclasses.replace(one, records=[answered[name] for name in sorted(common)]))
    return kept


def _columns(task: Task, records: Sequence[Record]) -> dict[str, NDArray[np.float64]]:
    """For each measure [items, 2]: what an item adds above and below the line of the quotient."""
    columns = {}
    if task.method == "perplexity":
        columns["perplexity"] = np.array([[record["nats"][0], record["tokens"][0]] for record in records], np.float64)
    for metric in [name for name in records[0]["metrics"] if all(name in record["metrics"] for record in records)]:
        columns[metric] = np.array([[record["metrics"][metric], 1.0] for record in records])
    if task.one_to_one and not task.num_choices:  # else the items of a group do not share their choices
        columns["one_to_one"] = np.array([[hit, 1.0] for hit in one_to_one(records)])
    return columns


def one_to_one(records: Sequence[Record]) -> list[float]:
    """1 for each item that is right when each choice of a group goes to one of its items, the cheapest way in all.

    Args:
        records: `group`, `mean` (of each choice) and `answer` of all items.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for number, record in enumerate(records):
        groups[record["group"]].append(number)
    hits = [0.0] * len(records)
    for members in groups.values():
        rows, places = linear_sum_assignment([records[number]["mean"] for number in members])
        for row, place in zip(rows, places, strict=True):
            hits[members[row]] = float(place == records[members[row]]["answer"])
    return hits


def _value(values: NDArray[np.float64], metric: str) -> float:
    above, below = values.sum(axis=(0, 1))
    return _finish(above / below, metric)


def _finish(quotient: float, metric: str) -> float:
    return math.exp(min(quotient, 700.0)) if metric == "perplexity" else 100.0 * float(quotient)


def _interval(values: NDArray[np.float64], metric: str) -> tuple[float, float]:
    generator = np.random.default_rng(_SEED)
    num_seeds, num_items, _ = values.shape
    quotients: list[float] = []
    while len(quotients) < _RESAMPLES:
        # As many at once as a few megabytes hold.
        number = min(_RESAMPLES - len(quotients), max(1, 300_000 // values.size))
        seeds = generator.integers(num_seeds, size=(number, num_seeds, 1))
        items = generator.integers(num_items, size=(number, 1, num_items))
        sums = values[seeds, items].sum(axis=(1, 2))
        quotients += (sums[:, 0] / sums[:, 1]).tolist()
    low, high = np.percentile(quotients, [2.5, 97.5])
    return _finish(low, metric), _finish(high, metric)


def _baselines(task: Task, metric: str, records: Sequence[Record]) -> tuple[float | None, float | None]:
    """Guessing evenly, and always giving the answer that is right most often."""
    if task.method == "perplexity":
        return None, None
    if task.method == "generation":
        common = majority_answer([reference for record in records for reference in record["references"]])
        values = [judge(task.metric, common, record["references"])[metric] for record in records]
        return None, 100.0 * sum(values) / len(values)
    chance = sum(1 / len(record["choices"]) for record in records) / len(records)
    guesses = majority_places(records, are_labels=task.num_choices > 0)
    right = sum(guess == record["answer"] for guess, record in zip(guesses, records, strict=True))
    return 100.0 * chance, 100.0 * right / len(records)


def majority_answer(references: Sequence[str]) -> str:
    """The reference that is there most often, the first one of those."""
    return Counter(references).most_common(1)[0][0]


def majority_places(records: Sequence[Record], are_labels: bool) -> list[int]:
    """Where the majority's answer stands among each item's choices.

    Args:
        records: of the items.
        are_labels: whether choices mean the same in all items wherever they stand. Then it is the label that is right
            most often among those that an item offers; else the place that is.
    """
    if are_labels:
        right = Counter(record["choices"][record["answer"]] for record in records)
        offered = [record["choices"] for record in records]
        return [max(range(len(choices)), key=lambda place: right[choices[place]]) for choices in offered]
    places = [place for place, _ in Counter(record["answer"] for record in records).most_common()]
    return [next(place for place in places if place < len(record["choices"])) for record in records]


def _notes(task: Task, several: Sequence[Answers], missing: int) -> tuple[str, ...]:
    notes = []
    records = [record for one in several for record in one.records]
    if missing:
        notes.append(f"not finished: {missing:,} items are missing")
    wanted = task.num_shots(several[0].header["shots"])
    fewer = sum(record["examples"] < (wanted or 1) for record in records) if wanted != 0 else 0
    cut = sum(record["limit"] is not None for record in records)
    for number, what in ((fewer, "had room for fewer examples"), (cut, "were shortened")):
        if number:
            notes.append(f"{number:,} of {len(records):,} items {what}")
    return (*notes, *(_of_texts(records) if task.method == "generation" else _of_choices(task, records)))


def _of_texts(records: Sequence[Record]) -> list[str]:
    empty = sum(not record["prediction"] for record in records)
    distinct = {record["prediction"] for record in records}
    notes = [f"DEGENERATE: {empty:,} of {len(records):,} answers are empty"] if 2 * empty > len(records) else []
    if len(distinct) == 1 and len(records) > 1 and not notes:
        notes.append(f"DEGENERATE: every answer is {next(iter(distinct))[:20]!r}")
    return notes


def _of_choices(task: Task, records: Sequence[Record]) -> list[str]:
    if task.method == "perplexity" or len(records) < 2:
        return []
    notes = []
    for scoring in ("mean", "sum"):
        places = {record["prediction"][scoring] for record in records}
        words = {record["choices"][record["prediction"][scoring]] for record in records}
        if len(words) == 1:
            notes.append(f"DEGENERATE ({scoring}): always {next(iter(words))[:20]!r}")
        elif len(places) == 1:
            notes.append(f"DEGENERATE ({scoring}): always choice {next(iter(places)) + 1}")
        right = sum(record["metrics"][scoring] for record in records)
        if 2 * right == len(records) and all(len(record["choices"]) == 2 for record in records):
            notes.append(f"SUSPICIOUS ({scoring}): exactly 50 % of two choices")
    ties = sum(sorted(record["mean"])[:2] == [min(record["mean"])] * 2 for record in records)
    if ties:
        notes.append(f"SUSPICIOUS: {ties:,} of {len(records):,} items have two candidates of the same score")
    return notes
