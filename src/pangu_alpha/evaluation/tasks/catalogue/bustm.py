"""BUSTM of FewCLUE: do two requests to an assistant mean the same?"""

from __future__ import annotations

import dataclasses

from pangu_alpha.evaluation.tasks.catalogue import afqmc
from pangu_alpha.evaluation.tasks.catalogue.fewclue import in_fewclue

TASK = in_fewclue(
    dataclasses.replace(
        afqmc.TASK,
        name="bustm",
        title="BUSTM",
        category="FewCLUE",
        sources={"template": "that of AFQMC: the paper does not have this task"},
    ),
    "bustm",
)
