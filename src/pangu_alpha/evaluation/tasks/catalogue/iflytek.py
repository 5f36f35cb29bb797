"""IFLYTEK: what kind of application a description is of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pangu_alpha.evaluation.tasks.data_files import DataFile, get, records
from pangu_alpha.evaluation.tasks.task import Item, Task


def read(files: Sequence[DataFile]) -> Iterator[Item]:
    """An item a description, with all kinds that the files speak of."""
    found = list(records(files))
    labels = tuple(sorted({get(record, "label_des", where) for where, record in found}))
    for number, (where, record) in enumerate(found):
        fields = {"passage": get(record, "sentence", where).strip()}
        yield Item(str(number), fields, labels, labels.index(record["label_des"]))


TASK = Task(
    name="iflytek",
    title="IFLYTEK",
    category="text classification",
    method="choice",
    metric="accuracy",
    context="这是关于{choice}的应用程序：",
    scored="{passage}",
    read=read,
    splits={"train": ("train.json",), "dev": ("dev.json",)},
    split="dev",
    few=3,
    licence="none stated",
    source="CLUE's iflytek_public.zip",
    num_choices=4,
    shot_length=25,
    sources={
        "num_choices": "4, the truth and 3 drawn for each item: paper",
        "scored": "the description, given its kind: reproduction",
        "shot_length": "25: reproduction",
    },
)
