"""TNEWS of FewCLUE: the task of the same name on FewCLUE's files."""

from __future__ import annotations

import dataclasses

from pangu_alpha.evaluation.tasks.catalogue import tnews
from pangu_alpha.evaluation.tasks.catalogue.fewclue import in_fewclue

TASK = in_fewclue(
    dataclasses.replace(
        tnews.TASK,
        name="few_tnews",
        title="TNEWS (FewCLUE)",
        category="FewCLUE",
        num_choices=0,
        sources={**tnews.TASK.sources, "num_choices": "0, all 15: FewCLUE counts all"},
    ),
    "tnews",
)
