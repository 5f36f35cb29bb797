"""CMRC 2018: questions on a Wikipedia passage, answered freely."""

from __future__ import annotations

from pangu_alpha.evaluation.tasks.catalogue import squad
from pangu_alpha.evaluation.tasks.task import Task

TASK = Task(
    name="cmrc2018",
    title="CMRC2018",
    category="reading comprehension",
    method="generation",
    metric="em_f1",
    context=squad.CONTEXT,
    scored="{choice}",
    read=squad.read,
    splits={
        "train": ("cmrc2018_train.json", "train.json"),
        "dev": ("cmrc2018_dev.json", "dev.json"),
        "trial": ("cmrc2018_trial.json", "trial.json"),
    },
    split="dev",
    few=0,
    licence="CC BY-SA 4.0",
    source="github.com/ymcui/cmrc2018",
    temperature=0.8,
    top_p=0.8,
    sources={
        "top_p": "0.8: paper, Table 8. The reproduction's code has 0.9",
        "few": "as many as have room: the paper's `dynamic`. The reproduction takes up to 5, of single sentences",
        "max_new_tokens": "32: reproduction",
        "references": "all of them. The reproduction compares with the first one",
        "passage": "shortened at its end where it is too long. The reproduction cuts the front of the prompt",
    },
)
