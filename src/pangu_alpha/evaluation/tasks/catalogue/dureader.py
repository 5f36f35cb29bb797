"""DuReader, its Zhidao part: questions that people have asked, answered from a document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pangu_alpha.evaluation.tasks.catalogue import squad
from pangu_alpha.evaluation.tasks.data_files import DataFile, get, records
from pangu_alpha.evaluation.tasks.task import Item, Task


def _read(files: Sequence[DataFile]) -> Iterator[Item]:
    for where, record in records(files):
        answers = tuple(answer for answer in get(record, "answers", where, list) if answer.strip())
        documents = [one for one in get(record, "documents", where, list) if get(one, "is_selected", where, bool)]
        if not answers or not documents:
            continue
        paragraphs = get(documents[0], "paragraphs", where, list)
        related = documents[0].get("most_related_para", 0)
        passage = paragraphs[related] if 0 <= related < len(paragraphs) else "".join(paragraphs)
        fields = {"passage": passage.strip(), "question": get(record, "question", where).strip()}
        yield Item(str(get(record, "question_id", where, (int, str))), fields, references=answers)


TASK = Task(
    name="dureader",
    title="DuReader",
    category="reading comprehension",
    method="generation",
    metric="rouge",
    context=squad.CONTEXT,
    scored="{choice}",
    read=_read,
    splits={"train": ("zhidao.train.json",), "dev": ("zhidao.dev.json",)},
    split="dev",
    few=6,
    licence="Apache-2.0",
    source="github.com/baidu/DuReader (2.0, preprocessed)",
    max_new_tokens=64,
    temperature=0.7,
    top_p=0.9,
    sources={
        "metric": "both: the paper prints Rouge-1, the reproduction's code computes Rouge-L",
        "passage": "the most related paragraph of the first document that an annotator chose; the paper does not say",
        "items": "those with an answer and a chosen document",
        "max_new_tokens": "64; nobody says",
        "shot_length": "nobody says; whole",
    },
)
