"""CSLDCP of FewCLUE: the discipline of an abstract, one of 67."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from pangu_alpha.evaluation.tasks.catalogue import iflytek
from pangu_alpha.evaluation.tasks.catalogue.fewclue import in_fewclue
from pangu_alpha.evaluation.tasks.data_files import DataFile, get, records
from pangu_alpha.evaluation.tasks.task import Item


def _read(files: Sequence[DataFile]) -> Iterator[Item]:
    found = list(records(files))
    labels = tuple(sorted({get(record, "label", where) for where, record in found}))
    for number, (where, record) in enumerate(found):
        yield Item(
            str(number), {"passage": get(record, "content", where).strip()}, labels, labels.index(record["label"])
        )


TASK = in_fewclue(
    dataclasses.replace(
        iflytek.TASK,
        name="csldcp",
        title="CSLDCP",
        category="FewCLUE",
        context="这是关于{choice}的论文：",
        read=_read,
        num_choices=0,
        shot_length=150,
        sources={
            "template": "that of IFLYTEK: the paper does not have this task",
            "num_choices": "0, all kinds that the file has: FewCLUE counts all 67",
        },
    ),
    "csldcp",
)
