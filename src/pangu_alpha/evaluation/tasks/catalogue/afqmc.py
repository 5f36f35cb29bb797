"""AFQMC: do two questions to a bank mean the same?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pangu_alpha.evaluation.tasks.data_files import DataFile, get, place, records
from pangu_alpha.evaluation.tasks.task import Item, Task

_WORDS = ("不同", "相同")


def read(files: Sequence[DataFile]) -> Iterator[Item]:
    """An item a pair."""
    for number, (where, record) in enumerate(records(files)):
        first, second = (get(record, name, where).strip() for name in ("sentence1", "sentence2"))
        answer = place(str(get(record, "label", where, (str, int))), ("0", "1"), where)
        yield Item(str(number), {"first": first.rstrip("。.？?！!"), "second": second}, _WORDS, answer)


TASK = Task(
    name="afqmc",
    title="AFQMC",
    category="sentence pairs",
    method="choice",
    metric="accuracy",
    context="下面两个句子语义{choice}：",
    scored="{first}。{second}",
    read=read,
    splits={"train": ("train.json",), "dev": ("dev.json",)},
    split="dev",
    few=4,
    licence="none stated",
    source="CLUE's afqmc_public.zip",
    balanced=True,
    sources={
        "scored": "both sentences, given the label: reproduction",
        "template": "paper, Table 7. The reproduction puts quotes around the sentences",
        "balanced": "the reproduction has 4 fixed examples, two of each label",
    },
)
