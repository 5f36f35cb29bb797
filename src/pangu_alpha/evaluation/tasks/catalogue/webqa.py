"""WebQA: questions about facts, without a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pangu_alpha.evaluation.tasks.data_files import DataFile, get
from pangu_alpha.evaluation.tasks.task import Item, Task

_NONE = "no_answer"


def _read(files: Sequence[DataFile]) -> Iterator[Item]:
    for file in files:
        for name, record in get({"all": file.json()}, "all", file.name, dict).items():
            where = f"{file.name}: {name}"
            evidences = get(record, "evidences", where, dict).values()
            answers = [answer for one in evidences for answer in get(one, "answer", where, list)]
            references = tuple(dict.fromkeys(answer for answer in answers if answer != _NONE))
            if references:
                yield Item(name, {"question": get(record, "question", where).strip()}, references=references)


TASK = Task(
    name="webqa",
    title="WebQA",
    category="closed-book question answering",
    method="generation",
    metric="em_f1",
    context="问：{question}\n答：",
    scored="{choice}",
    read=_read,
    splits={
        "train": ("me_train.json",),
        "dev": ("me_validation.ann.json",),
        "test": ("me_test.ann.json",),
    },
    split="test",
    few=8,
    licence="unknown",
    source="idl.baidu.com/WebQA.html (gone)",
    separator="\n\n",
    max_new_tokens=50,
    temperature=1.0,
    top_k=5,
    sources={
        "few": "8: paper, Table 9, and reproduction",
        "separator": "an empty line: reproduction",
        "max_new_tokens": "50: reproduction",
        "paper": "Tables 9 and 10 give the 2.6B different numbers; those beside are of Table 10",
    },
)
