"""Measuring: every item of a task is asked once, and what was asked, answered and scored is kept a line each."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pangu_alpha.console import progress, say
from pangu_alpha.errors import DataError
from pangu_alpha.evaluation.tasks import answers
from pangu_alpha.evaluation.tasks.data_files import DataFolder
from pangu_alpha.evaluation.tasks.examples import choose_examples, draw, negatives, sample
from pangu_alpha.evaluation.tasks.scorer import Score, Scorer
from pangu_alpha.evaluation.tasks.task import Item, Shots, Task
from pangu_alpha.evaluation.tasks.wording import Question, ask, example
from pangu_alpha.records import Record, append_record, keep_records, read_records, to_json
from pangu_alpha.tokenizer import Tokenizer

CHUNK = 32
"""Questions that a scorer gets at once; after each chunk the answers are on the disk."""
ANSWERS = "answers"
"""Folder of a result that holds every answer."""


@dataclass(frozen=True)
class Plan:
    """The questions of one task with one number of worked examples, drawn from one seed."""

    task: Task
    shots: Shots
    seed: int
    items: Sequence[Item]
    examples: dict[str, list[str]]
    """By group; under "" for all."""

    @property
    def file(self) -> str:
        """Name of the file of its answers."""
        return f"{self.task.name}.{self.shots}.{self.seed}.jsonl"

    def question(self, item: Item, tokenizer: Tokenizer, window: int) -> Question:
        """One of the items after its examples; errors as `ask`."""
        return ask(
            self.task, item, self.examples.get(item.group if self.task.shots_by_group else "", []), tokenizer, window
        )

    def header(self, scorer: Scorer) -> dict[str, object]:
        """What decides the answers: a run goes on only where all of it is the same."""
        items = [[item.id, dict(item.fields), item.choices, item.answer, item.references] for item in self.items]
        digest = hashlib.sha256(json.dumps(items, ensure_ascii=False).encode()).hexdigest()[:16]
        return {
            "task": self.task.name,
            "shots": self.shots,
            "seed": self.seed,
            "settings": self.task.settings(),
            "network": scorer.describe(),
            "num_items": len(self.items),
            "items": digest,
            "examples": self.examples,
        }


def load_items(task: Task, root: Path, split: str, seed: int) -> list[Item]:
    """The items of a split below `root`, with the choices that the task wants.

    Raises:
        DataError: files are missing, or not in the published format; they hold no item, or one twice or unanswered.
    """
    files = DataFolder(root, task.folder or task.name).find(split, task.splits[split])
    try:
        items = list(task.read(files))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        paths = ", ".join(file.name for file in files)
        raise DataError(f"{paths}: not in the published format of {task.name} ({error!r})") from error
    items = [_without_empty(item) for item in items]
    names = {item.id for item in items}
    faults = (
        (not items, "hold no item"),
        (len(names) < len(items), "hold two items of one name"),
        (not all(_has_texts(item) for item in items), "hold something that is no text where a text should be"),
        (any(not item.choices and not item.references for item in items), "hold an item without an answer"),
        (
            any(item.choices and not _is_place(item.answer, item.choices) for item in items),
            "hold a wrong answer's place",
        ),
    )
    for is_fault, what in faults:
        if is_fault:
            raise DataError(f"the files of {task.name}'s {split} split {what}: {files[0].name}")
    return [_with_negatives(task, item, seed) for item in items] if task.num_choices else items


def _without_empty(item: Item) -> Item:
    """Without right answers that nothing would be."""
    references = tuple(one for one in item.references if not isinstance(one, str) or one.strip())
    return dataclasses.replace(item, references=references)


def _has_texts(item: Item) -> bool:
    return all(map(_is_text, (item.id, *item.choices, *item.references, *item.fields.values())))


def _is_text(value: object) -> bool:
    """JSON can spell half of a character (`\\ud800`), which no file and no tokenizer takes."""
    return isinstance(value, str) and not any("\ud800" <= one <= "\udfff" for one in value)


def _is_place(answer: object, choices: Sequence[str]) -> bool:
    return type(answer) is int and 0 <= answer < len(choices)


def _with_negatives(task: Task, item: Item, seed: int) -> Item:
    number = task.num_choices - 1
    if number >= len(set(item.choices)):
        raise DataError(
            f"{task.name}.num_choices is {task.num_choices}, but item {item.id} has {len(set(item.choices))} choices"
        )
    generator = draw(seed, task.name, "negatives", item.id)
    choices, answer = negatives(item.truth, item.choices, number, generator)
    return Item(item.id, item.fields, choices, answer, item.references, item.group)


def make_plans(
    task: Task, root: Path, shots: Sequence[Shots], seed: int, num_seeds: int, limit: int | None
) -> Iterator[Plan]:
    """What is to be measured: one plan a number of examples, and where there are examples, one a seed of them.

    Raises:
        DataError: see `load_items` and `choose_examples`.
        ConfigError: a template of the task cannot be filled.
    """
    items = load_items(task, root, task.split, seed)
    example(task, items[0])  # to learn now whether the templates can be filled
    others = items if task.shot_split == task.split else None
    for kind in shots:
        number = task.num_shots(kind)
        if number != 0 and others is None:
            others = load_items(task, root, task.shot_split, seed)
        for one in range(seed, seed + (num_seeds if number != 0 else 1)):
            measured, texts = _with_examples(task, items, others or [], number, one)
            yield Plan(task, kind, one, sample(measured, limit, seed), texts)


def make_plan(task: Task, root: Path, number: int | None, seed: int) -> Plan:
    """All items of a task after `number` worked examples (None: as many as have room); errors as `make_plans`."""
    items = load_items(task, root, task.split, seed)
    is_same = task.shot_split == task.split
    others = items if is_same or number == 0 else load_items(task, root, task.shot_split, seed)
    return Plan(task, "few", seed, *_with_examples(task, items, others, number, seed))


def _with_examples(
    task: Task, items: list[Item], others: list[Item], number: int | None, seed: int
) -> tuple[list[Item], dict[str, list[str]]]:
    """The items that are measured, and the texts of examples by group."""
    chosen = choose_examples(task, others, number, seed)
    used = {item.id for group in chosen.values() for item in group} if others is items else set()
    texts = {group: [example(task, item) for item in examples] for group, examples in chosen.items()}
    return [item for item in items if item.id not in used], texts


def run_plan(plan: Plan, scorer: Scorer, folder: Path, chunk: int = CHUNK) -> None:
    """Ask what has not been answered yet; the answers are in `folder`'s file of the plan.

    Raises:
        DataError: the file was made with something else, or an item does not fit the network's window.
    """
    path = folder / ANSWERS / plan.file
    path.parent.mkdir(parents=True, exist_ok=True)
    keep_records(path, lambda record: True, say)
    header, known = json.loads(to_json(plan.header(scorer))), read_records(path, say)
    if len(known) < 2:  # nothing has been answered: whatever it was asked with
        path.unlink(missing_ok=True)
    _require_same_measurement(path.parent, header)
    if len(known) < 2:
        append_record(path, header)
    else:
        _require_same(path, header, known[0])
    done = {record["id"] for record in known[1:]}
    todo = [item for item in plan.items if item.id not in done]
    name = f"{plan.task.name}, {plan.shots}-shot"
    with progress(name, len(plan.items), "items", len(done), slow_start=True) as advance:
        for first in range(0, len(todo), chunk):
            part = todo[first : first + chunk]
            questions = [plan.question(item, scorer.tokenizer, scorer.window) for item in part]
            for record in _answer(plan, questions, scorer):
                append_record(path, record)
            advance(len(part))


def other_measurement(one: Record, other: Record) -> str:
    """In what two headers of answers are of different measurements, apart from task, shots and seed; else nothing."""
    networks = [header["network"] for header in (one, other)]
    if all("checkpoint" in network for network in networks):  # which tells them apart, wherever they are
        networks = [{**network, "name": ""} for network in networks]
    if networks[0] != networks[1]:
        return "network"
    return "settings" if one["task"] == other["task"] and one["settings"] != other["settings"] else ""


def _require_same_measurement(folder: Path, header: Record) -> None:
    """Refuse to add to what was measured of another network, or with other settings."""
    for path in sorted(folder.glob("*.jsonl")):
        first = next(iter(read_records(path)), None)
        if first is not None and "network" in first and (problem := other_measurement(first, header)):
            raise DataError(
                f"{path} was made with other {problem}: {_differing(first[problem], header[problem])}. "
                "Choose another --output, or remove the file"
            )


def _require_same(path: Path, wanted: Record, found: Record) -> None:
    for name, value in wanted.items():
        if name != "network" and found.get(name) != value:
            raise DataError(
                f"{path} was made with other {name}: {_differing(found.get(name), value)}. "
                "Choose another --output, or remove the file"
            )


def _differing(before: object, now: object) -> str:
    """Both, without what they have in common."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        before, now = ({name: one.get(name) for name in names} for one in (before, now))
    return f"{to_json(before)[:120]}, and now {to_json(now)[:120]}"


def _answer(plan: Plan, questions: Sequence[Question], scorer: Scorer) -> Iterator[Record]:
    if plan.task.method == "generation":
        for question, text in zip(questions, scorer.generate(questions, plan.seed), strict=True):
            yield _generated(question, text)
    else:
        for question, scores in zip(questions, scorer.score(questions), strict=True):
            yield _scored(question, scores)


def _facts(question: Question) -> Record:
    item = question.item
    return {
        "id": item.id,
        "group": item.group,
        "examples": question.num_shots,
        "limit": question.limit,
        "choices": list(item.choices),
        "answer": item.answer,
        "references": list(item.references),
        "prompts": [[candidate.context, candidate.scored] for candidate in question.candidates],
    }


def _scored(question: Question, scores: Sequence[Score]) -> Record:
    # Rounded before they are compared: who reads the file must come to the same predictions.
    nats = [round(score.nats, 4) for score in scores]
    means = [round(score.nats / score.num_tokens, 6) for score in scores]
    record = {**_facts(question), "nats": nats, "tokens": [score.num_tokens for score in scores], "mean": means}
    if question.task.method == "perplexity":
        is_greedy = scores[0].is_greedy
        return {**record, "metrics": {} if is_greedy is None else {"greedy": float(is_greedy)}}
    by_mean, by_sum = means.index(min(means)), nats.index(min(nats))
    truth = question.item.answer
    return {
        **record,
        "prediction": {"mean": by_mean, "sum": by_sum},
        "metrics": {"mean": float(by_mean == truth), "sum": float(by_sum == truth)},
    }


def _generated(question: Question, text: str) -> Record:
    answer = text.partition(question.task.stop)[0].strip() if question.task.stop else text.strip()
    return {
        **_facts(question),
        "continuation": text,
        "prediction": answer,
        "metrics": judge(question.task.metric, answer, question.item.references),
    }


def judge(metric: str, answer: str, references: Sequence[str]) -> dict[str, float]:
    """What a free answer is worth, from 0 to 1, in each measure of a metric."""
    if metric == "em_f1":
        return {"em": answers.exact_match(answer, references), "f1": answers.f1(answer, references)}
    if metric == "rouge":
        return {"rouge_1": answers.rouge_1(answer, references), "rouge_l": answers.rouge_l(answer, references)}
    return {"accuracy": answers.begins_with_word(answer, references)}
