"""CMMLU: examination questions of 67 subjects."""

from __future__ import annotations

import dataclasses

from pangu_alpha.evaluation.tasks.catalogue import ceval, exam

TASK = dataclasses.replace(
    ceval.TASK,
    name="cmmlu",
    title="CMMLU",
    splits={"dev": ("dev/*.csv",), "test": ("test/*.csv",)},
    split="test",
    source="github.com/haonan-li/CMMLU",
    sources=exam.SOURCES,
)
