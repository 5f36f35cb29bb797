"""OCNLI of FewCLUE: the task of the same name on FewCLUE's files."""

from __future__ import annotations

import dataclasses

from pangu_alpha.evaluation.tasks.catalogue import ocnli
from pangu_alpha.evaluation.tasks.catalogue.fewclue import in_fewclue

TASK = in_fewclue(
    dataclasses.replace(
        ocnli.TASK,
        name="few_ocnli",
        title="OCNLI (FewCLUE)",
        category="FewCLUE",
    ),
    "ocnli",
)
