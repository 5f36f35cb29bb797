"""CMNLI: does the second sentence follow from the first?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pangu_alpha.evaluation.tasks.data_files import DataFile, get, place, records
from pangu_alpha.evaluation.tasks.task import Item, Task

_LABELS = ("entailment", "neutral", "contradiction")
_WORDS = ("对", "或许", "错")


def read(files: Sequence[DataFile]) -> Iterator[Item]:
    """An item a pair; those on which the annotators did not agree (label `-`) are left out."""
    for number, (where, record) in enumerate(records(files)):
        label = get(record, "label", where)
        if label != "-":
            first, second = (get(record, name, where).strip() for name in ("sentence1", "sentence2"))
            fields = {"first": first.rstrip("。.？?！!"), "second": second}
            yield Item(str(record.get("id", number)), fields, _WORDS, place(label, _LABELS, where))


TASK = Task(
    name="cmnli",
    title="CMNLI",
    category="natural language inference",
    method="choice",
    metric="accuracy",
    context="",
    scored="{first}?{choice}，{second}",
    read=read,
    splits={"train": ("train.json",), "dev": ("dev.json",)},
    split="dev",
    few=6,
    licence="none stated",
    source="CLUE's cmnli_public.zip",
    sources={
        "few": "6: Table 9 has `6,12`",
        "scored": "the whole text: paper. `context={first}?{choice}， scored={second}` scores what follows the label",
        "id": "the number of the line: the published records have none",
    },
)
