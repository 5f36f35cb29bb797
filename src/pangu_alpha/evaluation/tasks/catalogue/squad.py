"""The two forms in which CMRC 2018 and DRCD are published: CMRC's own, and that of SQuAD."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pangu_alpha.evaluation.tasks.data_files import DataFile, get
from pangu_alpha.evaluation.tasks.task import Item

CONTEXT = "阅读文章：{passage}\n问：{question}\n答："
"""Table 7."""


def read(files: Sequence[DataFile]) -> Iterator[Item]:
    """An item a question, with all its references."""
    for file in files:
        value = file.json()
        documents = get(value, "data", file.name, list) if isinstance(value, Mapping) else value
        for number, document in enumerate(documents, start=1):
            where = f"{file.name} document {number}"
            if isinstance(document, Mapping) and "context_text" in document:
                yield from _own(document, where)
                continue
            for paragraph in get(document, "paragraphs", where, list):
                yield from _squad(paragraph, where)


def _own(document: Mapping[str, Any], where: str) -> Iterator[Item]:
    passage = get(document, "context_text", where)
    for query in get(document, "qas", where, list):
        answers = tuple(str(answer) for answer in get(query, "answers", where, list))
        yield _item(get(query, "query_id", where), passage, get(query, "query_text", where), answers)


def _squad(paragraph: Any, where: str) -> Iterator[Item]:
    passage = get(paragraph, "context", where)
    for query in get(paragraph, "qas", where, list):
        answers = tuple(get(answer, "text", where) for answer in get(query, "answers", where, list))
        yield _item(get(query, "id", where), passage, get(query, "question", where), answers)


def _item(name: str, passage: str, question: str, answers: tuple[str, ...]) -> Item:
    return Item(name, {"passage": passage.strip(), "question": question.strip()}, references=answers)
