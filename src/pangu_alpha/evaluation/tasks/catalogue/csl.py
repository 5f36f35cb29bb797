"""CSL: are these all keywords of the abstract?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pangu_alpha.evaluation.tasks.data_files import DataFile, get, place, records
from pangu_alpha.evaluation.tasks.task import Item, Task

_WORDS = ("不是", "是")


def read(files: Sequence[DataFile]) -> Iterator[Item]:
    """An item an abstract with keywords."""
    for number, (where, record) in enumerate(records(files)):
        keywords = get(record, "keyword", where, list)
        fields = {"passage": get(record, "abst", where).strip().rstrip("。"), "keywords": "、".join(map(str, keywords))}
        answer = place(str(get(record, "label", where, (str, int))), ("0", "1"), where)
        yield Item(str(record.get("id", number)), fields, _WORDS, answer)


TASK = Task(
    name="csl",
    title="CSL",
    category="keyword recognition",
    method="choice",
    metric="accuracy",
    context="",
    scored="摘要：{passage}，关键词：{keywords}{choice}真实关键词",
    read=read,
    splits={"train": ("train.json",), "dev": ("dev.json",)},
    split="dev",
    few=10,
    licence="none stated",
    source="CLUE's csl_public.zip",
    sources={
        "scored": "the whole text: paper and reproduction (which also scores the padding)",
        "keywords": "joined by 、; nobody says",
    },
)
