"""C3: questions about a dialogue, up to four answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pangu_alpha.errors import DataError
from pangu_alpha.evaluation.tasks.data_files import DataFile, get, place
from pangu_alpha.evaluation.tasks.task import Item, Task


def _read(files: Sequence[DataFile]) -> Iterator[Item]:
    for file in files:
        for number, entry in enumerate(file.json(), start=1):
            where = f"{file.name} entry {number}"
            if not isinstance(entry, list) or len(entry) < 3 or not isinstance(entry[0], list):
                raise DataError(f"{where} is not [dialogue, questions, id]: the file is not in the published format")
            passage, name = "\n".join(entry[0]), str(entry[2])
            for question, record in enumerate(entry[1]):
                choices = tuple(get(record, "choice", where, list))
                answer = place(get(record, "answer", where), choices, where)
                fields = {"passage": passage, "question": get(record, "question", where).strip()}
                yield Item(f"{name}-{question}", fields, choices, answer, group=name)


TASK = Task(
    name="c3",
    title="C3",
    category="common sense reasoning",
    method="choice",
    metric="accuracy",
    context="问: {question}\n答:{choice}\n该答案来自对话: ",
    scored="{passage}",
    read=_read,
    splits={
        "train": ("c3-d-train.json", "d-train.json"),
        "dev": ("c3-d-dev.json", "d-dev.json"),
        "test": ("c3-d-test.json", "d-test.json"),
        "train_mixed": ("c3-m-train.json", "m-train.json"),
        "dev_mixed": ("c3-m-dev.json", "m-dev.json"),
        "test_mixed": ("c3-m-test.json", "m-test.json"),
    },
    split="dev",
    few=3,
    licence="non-commercial research",
    source="github.com/nlpdata/c3",
    sources={
        "split": "dev, dialogues only: official code. The paper's rule would take the test set, which is public",
        "scored": "the dialogue, given question and answer: official code, which does not divide by the tokens: `sum`",
        "template": "paper, Table 7; official code has `问：`, `答：` and no spaces",
    },
)
