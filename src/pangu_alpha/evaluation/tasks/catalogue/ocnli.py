"""OCNLI: does the second sentence follow from the first? Written in Chinese."""

from __future__ import annotations

import dataclasses

from pangu_alpha.evaluation.tasks.catalogue import cmnli

TASK = dataclasses.replace(
    cmnli.TASK,
    name="ocnli",
    title="OCNLI",
    splits={"train": ("train.50k.json", "train.json"), "dev": ("dev.json",)},
    few=3,
    licence="CC BY-NC 2.0",
    source="github.com/CLUEbenchmark/OCNLI",
    sources={
        "few": "3: Table 9 has `3,6`",
        "scored": "the whole text: paper",
        "template": "Table 7; Figure 10 of the paper has `$S1，对?$S2`",
    },
)
