"""The form of PD, CFT and CMRC 2017: numbered sentences of words with spaces, and one of them again with a blank."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pangu_alpha.errors import DataError
from pangu_alpha.evaluation.tasks.data_files import DataFile
from pangu_alpha.evaluation.tasks.task import Item

BLANK = "XXXXX"
_BAR = re.compile(r"\s*\|\|\|\s*")
_BETWEEN_LETTERS = re.compile(r"(?<=[A-Za-z0-9]) (?=[A-Za-z0-9])")


def read(files: Sequence[DataFile]) -> Iterator[Item]:
    """An item a blank: the passage without the sentence that has it, then that sentence."""
    answers = {name: answer for file in files if _is_answers(file) for name, answer in _answers(file)}
    for file in files:
        if not _is_answers(file):
            yield from _questions(file, answers)


def joined(words: str) -> str:
    """Text as it was before it was cut into words: a space only between letters or digits."""
    return _BETWEEN_LETTERS.sub("\0", " ".join(words.split())).replace(" ", "").replace("\0", " ")


def _is_answers(file: DataFile) -> bool:
    return file.name.endswith(".answer")


def _answers(file: DataFile) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(file.text().splitlines(), start=1):
        if line.strip():
            parts = _BAR.split(line.strip())
            if len(parts) != 2:
                raise DataError(f"{file.name} line {number} is not `<qid_N> ||| answer`: {line[:60]!r}")
            yield parts[0], parts[1]


def _questions(file: DataFile, answers: dict[str, str]) -> Iterator[Item]:
    sentences: list[str] = []
    for number, line in enumerate(file.text().splitlines(), start=1):
        if not line.strip():
            continue
        name, bar, rest = line.partition("|||")
        if not bar:
            raise DataError(f"{file.name} line {number} has no `|||`: {line[:60]!r}")
        if not name.strip().startswith("<qid"):
            sentences.append(rest.strip())
            continue
        query, *given = _BAR.split(rest.strip())
        answer = given[0] if given else answers.get(name.strip(), "")
        if query.count(BLANK) != 1 or not answer:
            what = "no answer" if query.count(BLANK) == 1 else f"{query.count(BLANK)} blanks {BLANK}"
            raise DataError(f"{file.name} line {number}: the question has {what}: the file is not as it is published")
        left, _, right = query.partition(BLANK)
        passage = "".join(joined(sentence) for sentence in sentences if BLANK not in sentence)
        fields = {"passage": passage, "left": joined(left), "right": joined(right)}
        # Questions are numbered from the start in each file.
        yield Item(f"{file.name.rpartition('/')[2]} {name.strip()}", fields, references=(joined(answer),))
        sentences = []


SOURCES = {
    "prompt": "the sentence with the blank moved to the end and cut at it: reproduction, for CMRC2017. Table 7: `/`",
    "metric": "right when the continuation begins with the answer and a word ends there. The reproduction generates "
    "exactly as many tokens as the answer has, or cuts the continuation to its length: it is told the length",
    "max_new_tokens": "16; enough for a word, and the same for all items",
}
