"""TNEWS: what a headline is about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pangu_alpha.evaluation.tasks.data_files import DataFile, get, place, records
from pangu_alpha.evaluation.tasks.task import Item, Task

LABELS = {
    "news_story": "故事", "news_culture": "文化", "news_entertainment": "娱乐", "news_sports": "体育",
    "news_finance": "财经", "news_house": "房产", "news_car": "汽车", "news_edu": "教育", "news_tech": "科技",
    "news_military": "军事", "news_travel": "旅行", "news_world": "世界", "news_stock": "股票",
    "news_agriculture": "农业", "news_game": "游戏",
}  # fmt: skip
"""The published labels in Chinese (later official code)."""


def read(files: Sequence[DataFile]) -> Iterator[Item]:
    """An item a headline, with all 15 labels."""
    for number, (where, record) in enumerate(records(files)):
        answer = place(get(record, "label_desc", where), tuple(LABELS), where)
        fields = {"passage": get(record, "sentence", where).strip()}
        yield Item(str(number), fields, tuple(LABELS.values()), answer)


TASK = Task(
    name="tnews",
    title="TNEWS",
    category="text classification",
    method="choice",
    metric="accuracy",
    context="这是关于{choice}的文章：",
    scored="{passage}",
    read=read,
    splits={"train": ("train.json",), "dev": ("dev.json",)},
    split="dev",
    few=6,
    licence="none stated",
    source="CLUE's tnews_public.zip",
    num_choices=4,
    balanced=True,
    shot_length=150,
    sources={
        "num_choices": "4, the truth and 3 drawn for each item: paper",
        "scored": "the headline, given its label: reproduction, whose mask opens too early (it counts words as tokens)",
        "balanced": "reproduction",
        "shot_length": "150: reproduction",
    },
)
