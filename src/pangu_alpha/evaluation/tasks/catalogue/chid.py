"""ChID: the missing idiom in a passage, one of ten."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pangu_alpha.errors import DataError
from pangu_alpha.evaluation.tasks.data_files import DataFile, get, place, records
from pangu_alpha.evaluation.tasks.task import Item, Task

BLANK = re.compile(r"#idiom\d*#")
OTHER_BLANK = "……"
"""Stands where another blank of the passage is, whose answer must not be given away."""


def _read(files: Sequence[DataFile]) -> Iterator[Item]:
    answers: dict[str, int] = {}
    for file in files:
        if file.name.endswith("_answer.json"):
            answers.update(file.json())
    passages = [file for file in files if not file.name.endswith("_answer.json")]
    for where, record in records(passages):
        if "groundTruth" not in record and not answers:
            raise DataError(f"{where}: CLUE keeps the answers in a file beside it, whose name ends in _answer.json")
        yield from _as_in_clue(record, answers, where) if "groundTruth" not in record else _original(record, where)


def _as_in_clue(record: Mapping[str, Any], answers: Mapping[str, int], where: str) -> Iterator[Item]:
    choices = tuple(get(record, "candidates", where, list))
    for number, passage in enumerate(get(record, "content", where, list)):
        for blank in BLANK.finditer(passage):
            answer = get(answers, blank.group(), f"{where}: its _answer.json", int)
            fields = around(passage, blank)
            yield Item(blank.group().strip("#"), fields, choices, answer, group=f"{where} passage {number}")


def _original(record: Mapping[str, Any], where: str) -> Iterator[Item]:
    passage = get(record, "content", where)
    truths, candidates = get(record, "groundTruth", where, list), get(record, "candidates", where, list)
    for number, blank in enumerate(BLANK.finditer(passage)):
        choices = tuple(candidates[number])
        answer = place(truths[number], choices, where)
        yield Item(f"{where.rpartition('/')[2]} blank {number}", around(passage, blank), choices, answer, group=where)


def around(passage: str, blank: re.Match[str]) -> dict[str, str]:
    """What stands before and after one of the blanks."""
    left, right = passage[: blank.start()], passage[blank.end() :]
    return {"left": BLANK.sub(OTHER_BLANK, left), "right": BLANK.sub(OTHER_BLANK, right)}


TASK = Task(
    name="chid",
    title="CHID",
    category="cloze with choices",
    method="choice",
    metric="accuracy",
    context="",
    scored="{left}{choice}{right}",
    read=_read,
    splits={
        "train": ("train*.json", "train.txt"),
        "dev": ("dev*.json", "dev.txt"),
        "test": ("test.txt",),
    },
    split="dev",
    few=3,
    licence="Apache-2.0",
    source="github.com/chujiezheng/ChID-Dataset, and CLUE's chid_public.zip",
    sources={
        "split": "dev: the test answers of CLUE are not public; `test` is the original's",
        "scored": "the whole text, as the paper says it; what stands before the blank is the same for all",
        "other blanks": "……: their answers are not given away. The paper does not say",
    },
)
