"""CMRC 2017, its cloze track: a missing word in a children's tale."""

from __future__ import annotations

import dataclasses

from pangu_alpha.evaluation.tasks.catalogue import cloze, pd

TASK = dataclasses.replace(
    pd.TASK,
    name="cmrc2017",
    title="CMRC2017",
    splits={"train": ("*cloze.train*",), "valid": ("*cloze.valid*",), "test": ("*cloze.test*",)},
    source="github.com/ymcui/cmrc2017",
    split="valid",
    temperature=1.0,
    top_p=0.9,
    sources={
        **cloze.SOURCES,
        "decoding": "top-p 0.9, T 1: paper, Table 8, and reproduction",
        "split": "valid: of the test set only the answers are public",
    },
)
