"""The form of C-Eval and CMMLU: a table of four-way questions for each subject."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from pangu_alpha.evaluation.tasks.data_files import DataFile, get, place
from pangu_alpha.evaluation.tasks.task import Item

LETTERS = ("A", "B", "C", "D")
CONTEXT = "{question}\nA. {A}\nB. {B}\nC. {C}\nD. {D}\n答案："
SOURCES = {
    "template": "that of the data set's own code for base models, without the sentence that names the subject",
    "scored": "the letter",
}


def read(files: Sequence[DataFile]) -> Iterator[Item]:
    """An item a row; its group is the subject, which the file is named after."""
    for file in files:
        stem = PurePosixPath(file.name.rpartition("!")[2]).stem
        subject = stem.removesuffix("_val").removesuffix("_dev").removesuffix("_test")
        for number, (where, row) in enumerate(file.rows()):
            lower = {name.lower(): value for name, value in row.items() if name}
            fields = {name: get(lower, name.lower(), where).strip() for name in ("question", *LETTERS)}
            answer = place(get(lower, "answer", where).strip(), LETTERS, where)
            yield Item(f"{subject} {number}", fields, LETTERS, answer, group=subject)
