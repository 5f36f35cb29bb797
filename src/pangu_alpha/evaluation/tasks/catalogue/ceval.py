"""C-Eval: examination questions of 52 subjects."""

from __future__ import annotations

from pangu_alpha.evaluation.tasks.catalogue import exam
from pangu_alpha.evaluation.tasks.task import Task

TASK = Task(
    name="ceval",
    title="C-Eval",
    category="examinations",
    method="choice",
    metric="accuracy",
    context=exam.CONTEXT,
    scored="{choice}",
    read=exam.read,
    splits={"dev": ("dev/*_dev.csv",), "val": ("val/*_val.csv",)},
    split="val",
    few=5,
    licence="CC BY-NC-SA 4.0",
    source="github.com/hkust-nlp/ceval (ceval-exam.zip)",
    shot_split="dev",
    shots_by_group=True,
    separator="\n\n",
    sources={**exam.SOURCES, "split": "val: the answers of test are not public"},
)
