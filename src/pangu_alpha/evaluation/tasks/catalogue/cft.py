"""CFT: a missing word in a children's tale."""

from __future__ import annotations

import dataclasses

from pangu_alpha.evaluation.tasks.catalogue import cloze, pd

TASK = dataclasses.replace(
    pd.TASK,
    name="cft",
    title="CFT",
    splits={"auto": ("cft.test.auto",), "human": ("cft.test.human",)},
    split="human",
    shot_split="auto",
    sources={
        **cloze.SOURCES,
        "decoding": "the likeliest token: Table 8 has top-k 1",
        "split": "human (chosen by people); the paper does not say which of the two",
        "shot_split": "auto: there is no training set",
    },
)
