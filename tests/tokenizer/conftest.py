"""Real Chinese prose (Lu Xun, 1919 and 1921), a tokenizer trained on it, and the released vocabulary if it is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pangu_alpha.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

GUXIANG = (
    "我冒了严寒，回到相隔二千余里，别了二十余年的故乡去。\n"
    "　　时候既然是深冬；渐近故乡时，天气又阴晦了，冷风吹进船舱中，呜呜的响，从篷隙向外一望，苍黄的天底下，"
    "远近横着几个萧索的荒村，没有一些活气。我的心禁不住悲凉起来了。\n"
    "　　阿！这不是我二十年来时时记得的故乡？\n"
    "　　我所记得的故乡全不如此。我的故乡好得多了。但要我记起他的美丽，说出他的佳处来，却又没有影像，没有言辞了。"
    "仿佛也就如此。于是我自己解释说：故乡本也如此，——虽然没有进步，也未必有如我所感的悲凉，"
    "这只是我自己心情的改变罢了，因为我这次回乡，本没有什么好心绪。\n"
    "　　我这次是专为了别他而来的。我们多年聚族而居的老屋，已经公同卖给别姓了，交屋的期限，只在本年，"
    "所以必须赶在正月初一以前，永别了熟识的老屋，而且远离了熟识的故乡，搬家到我在谋食的异地去。\n"
)
KONGYIJI = (
    "鲁镇的酒店的格局，是和别处不同的：都是当街一个曲尺形的大柜台，柜里面预备着热水，可以随时温酒。\n\n"
    "做工的人，傍午傍晚散了工，每每花四文铜钱，买一碗酒，——这是二十多年前的事，现在每碗要涨到十文，——"
    "靠柜外站着，热热的喝了休息；倘肯多花一文，便可以买一碟盐煮笋，或者茴香豆，做下酒物了，如果出到十几文，"
    "那就能买一样荤菜，但这些顾客，多是短衣帮，大抵没有这样阔绰。\n\n"
    "只有穿长衫的，才踱进店面隔壁的房子里，要酒要菜，慢慢地坐喝。\n"
)


@pytest.fixture(scope="session")
def prose() -> list[str]:
    """Two documents."""
    return [GUXIANG, KONGYIJI]


@pytest.fixture(scope="session")
def small_path(prose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer directory of 700 pieces. The training text has no space in it."""
    path = tmp_path_factory.mktemp("tokenizers") / "small"
    train_tokenizer(prose, path, 700)
    return path


@pytest.fixture(scope="session")
def small(small_path: Path) -> Tokenizer:
    return load_tokenizer(small_path)


@pytest.fixture(scope="session")
def released_path() -> Path:
    """The released vocabulary, which is not part of the project."""
    root = Path(__file__).parents[2]
    path = Path(os.environ.get("PANGU_ALPHA_TEST_DATA", root.parent / "shared/data")) / "pangu_alpha_vocab.model"
    if not path.exists():
        pytest.skip(f"the released vocab.model is not at {path}; PANGU_ALPHA_TEST_DATA names another folder")
    return path


@pytest.fixture(scope="session")
def released(released_path: Path) -> Tokenizer:
    return load_tokenizer(released_path)
