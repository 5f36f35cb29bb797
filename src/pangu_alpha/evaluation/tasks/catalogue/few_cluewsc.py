"""CLUEWSC of FewCLUE: the task of the same name on FewCLUE's files."""

from __future__ import annotations

import dataclasses

from pangu_alpha.evaluation.tasks.catalogue import cluewsc2020
from pangu_alpha.evaluation.tasks.catalogue.fewclue import in_fewclue

TASK = in_fewclue(
    dataclasses.replace(
        cluewsc2020.TASK,
        name="few_cluewsc",
        title="CLUEWSC (FewCLUE)",
        category="FewCLUE",
    ),
    "cluewsc",
)
