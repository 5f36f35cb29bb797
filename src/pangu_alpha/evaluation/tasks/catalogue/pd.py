"""PD: a missing word in news of People's Daily."""

from __future__ import annotations

from pangu_alpha.evaluation.tasks.catalogue import cloze
from pangu_alpha.evaluation.tasks.task import Task

TASK = Task(
    name="pd",
    title="PD",
    category="cloze without choices",
    method="generation",
    metric="word",
    context="{passage}{left}",
    scored="{choice}{right}",
    read=cloze.read,
    splits={"train": ("pd.train",), "valid": ("pd.valid",), "test": ("pd.test",)},
    split="test",
    few=3,
    licence="CC BY-SA 4.0",
    source="github.com/ymcui/Chinese-Cloze-RC",
    max_new_tokens=16,
    sources={
        **cloze.SOURCES,
        "decoding": "the likeliest token: Table 8 has top-k 1. The reproduction's code has top-p 0.1",
        "paper": "Tables 9 and 10 have 38.47; the reproduction says that the paper has 58.05",
    },
)
