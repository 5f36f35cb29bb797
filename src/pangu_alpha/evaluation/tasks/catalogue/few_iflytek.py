"""IFLYTEK of FewCLUE: the task of the same name on FewCLUE's files."""

from __future__ import annotations

import dataclasses

from pangu_alpha.evaluation.tasks.catalogue import iflytek
from pangu_alpha.evaluation.tasks.catalogue.fewclue import in_fewclue

TASK = in_fewclue(
    dataclasses.replace(
        iflytek.TASK,
        name="few_iflytek",
        title="IFLYTEK (FewCLUE)",
        category="FewCLUE",
        num_choices=0,
        sources={**iflytek.TASK.sources, "num_choices": "0, all kinds that the file has: FewCLUE counts all 119"},
    ),
    "iflytek",
)
