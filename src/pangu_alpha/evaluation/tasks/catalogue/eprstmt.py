"""EPRSTMT of FewCLUE: is a review good or bad?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pangu_alpha.evaluation.tasks.catalogue.fewclue import in_fewclue
from pangu_alpha.evaluation.tasks.data_files import DataFile, get, place, records
from pangu_alpha.evaluation.tasks.task import Item, Task


def _read(files: Sequence[DataFile]) -> Iterator[Item]:
    for number, (where, record) in enumerate(records(files)):
        answer = place(get(record, "label", where), ("Negative", "Positive"), where)
        fields = {"passage": get(record, "sentence", where).strip()}
        yield Item(str(number), fields, ("差评", "好评"), answer)


TASK = in_fewclue(
    Task(
        name="eprstmt",
        title="EPRSTMT",
        category="FewCLUE",
        method="choice",
        metric="accuracy",
        context="这是一条{choice}：",
        scored="{passage}",
        read=_read,
        splits={"train": (), "test": ()},
        split="test",
        few=4,
        licence="",
        source="",
        balanced=True,
        sources={"template": "ours, in the manner of TNEWS: the paper does not have this task"},
    ),
    "eprstmt",
)
