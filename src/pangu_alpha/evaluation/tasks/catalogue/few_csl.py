"""CSL of FewCLUE: the task of the same name on FewCLUE's files."""

from __future__ import annotations

import dataclasses

from pangu_alpha.evaluation.tasks.catalogue import csl
from pangu_alpha.evaluation.tasks.catalogue.fewclue import in_fewclue

TASK = in_fewclue(
    dataclasses.replace(
        csl.TASK,
        name="few_csl",
        title="CSL (FewCLUE)",
        category="FewCLUE",
    ),
    "csl",
)
