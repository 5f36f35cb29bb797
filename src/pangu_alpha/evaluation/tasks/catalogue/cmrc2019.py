"""CMRC 2019: which of the sentences belongs into a blank of the passage."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pangu_alpha.evaluation.tasks.catalogue.chid import OTHER_BLANK
from pangu_alpha.evaluation.tasks.data_files import DataFile, get
from pangu_alpha.evaluation.tasks.task import Item, Task

BLANK = re.compile(r"\[BLANK(\d+)\]")
_LEFT, _RIGHT = 300, 200
"""Characters of the context (reproduction)."""


def _read(files: Sequence[DataFile]) -> Iterator[Item]:
    for file in files:
        for record in get(file.json(), "data", file.name, list):
            where = f"{file.name}: {record.get('context_id') if isinstance(record, dict) else record!r:.40}"
            passage, choices = get(record, "context", where), tuple(get(record, "choices", where, list))
            answers, name = get(record, "answers", where, list), get(record, "context_id", where)
            for blank in BLANK.finditer(passage):
                left = BLANK.sub(OTHER_BLANK, passage[: blank.start()])[-_LEFT:]
                right = BLANK.sub(OTHER_BLANK, passage[blank.end() :])[:_RIGHT]
                fields = {"left": left, "right": right}
                number = int(blank.group(1)) - 1
                yield Item(f"{name} {blank.group(1)}", fields, choices, answers[number], group=name)


TASK = Task(
    name="cmrc2019",
    title="CMRC2019",
    category="cloze with choices",
    method="choice",
    metric="accuracy",
    context="{left}",
    scored="{choice}{right}",
    read=_read,
    splits={
        "train": ("cmrc2019_train.json",),
        "dev": ("cmrc2019_dev.json",),
        "qualify": ("cmrc2019_qualify.json",),
        "trial": ("cmrc2019_trial.json",),
    },
    split="dev",
    few=2,
    one_to_one=True,
    licence="CC BY-SA 4.0",
    source="github.com/ymcui/cmrc2019",
    sources={
        "scored": "the sentence and what follows: reproduction. Table 7: `/`",
        "context": "300 characters before, 200 after: reproduction",
        "other blanks": "……: their sentences are not given away. Nobody says",
        "assignment": "each blank by itself: paper. The reproduction gives each sentence to one blank (Hungarian "
        "method): beside it as `one to one`",
        "paper": "Tables 9 and 10 give the 2.6B different numbers; those beside are of Table 10",
    },
)
