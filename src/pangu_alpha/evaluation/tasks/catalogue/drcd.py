"""DRCD: questions on a Wikipedia passage in traditional characters, answered freely."""

from __future__ import annotations

from pangu_alpha.evaluation.tasks.catalogue import squad
from pangu_alpha.evaluation.tasks.task import Task

TASK = Task(
    name="drcd",
    title="DRCD",
    category="reading comprehension",
    method="generation",
    metric="em_f1",
    context=squad.CONTEXT,
    scored="{choice}",
    read=squad.read,
    splits={
        "train": ("DRCD_training.json", "train.json"),
        "dev": ("DRCD_dev.json", "dev.json"),
        "test": ("DRCD_test.json", "test.json"),
    },
    split="test",
    few=0,
    licence="CC BY-SA 3.0",
    source="github.com/DRCKnowledgeTeam/DRCD",
    temperature=0.8,
    top_p=0.8,
    sources={
        "split": "test: paper, `the test set if it is public`",
        "text": "as published, in traditional characters; nobody says whether it was simplified",
        "few": "as many as have room: the paper's `dynamic`",
        "max_new_tokens": "32: as for CMRC2018",
    },
)
