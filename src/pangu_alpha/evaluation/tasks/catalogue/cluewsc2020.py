"""CLUEWSC2020: does the pronoun mean the noun?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pangu_alpha.errors import DataError
from pangu_alpha.evaluation.tasks.data_files import DataFile, get, place, records
from pangu_alpha.evaluation.tasks.task import Item, Task


def read(files: Sequence[DataFile]) -> Iterator[Item]:
    """An item a pair of pronoun and noun. The choices: the text as it is, and with the noun in the pronoun's place."""
    for number, (where, record) in enumerate(records(files)):
        target, text = get(record, "target", where, dict), get(record, "text", where)
        pronoun, noun = get(target, "span2_text", where), get(target, "span1_text", where)
        start = get(target, "span2_index", where, int)
        if text[start : start + len(pronoun)] != pronoun:
            raise DataError(f"{where}: the text has no {pronoun} at character {start}, where the record says it is")
        fields = {"left": text[:start], "right": text[start + len(pronoun) :]}
        answer = place(str(get(record, "label", where, (str, bool))).lower(), ("false", "true"), where)
        yield Item(str(number), fields, (pronoun, noun), answer)


TASK = Task(
    name="cluewsc2020",
    title="CLUEWSC2020",
    category="Winograd schema",
    method="choice",
    metric="accuracy",
    context="",
    scored="{left}{choice}{right}",
    read=read,
    splits={"train": ("train.json",), "dev": ("dev.json",)},
    split="dev",
    few=14,
    licence="none stated",
    source="CLUE's cluewsc2020_public.zip",
    sources={
        "template": "the noun in the pronoun's place against the text as it is. The paper: `turned into multiple "
        "choice`, Table 7: `/`; its numbers are multiples of 1/304, so each record counts by itself",
        "baseline": "every item has its own words: the majority is of places, that is of true and false",
    },
)
