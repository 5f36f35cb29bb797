"""Chinese prose (Lu Xun, 1919 and 1921) to count and to score."""

from __future__ import annotations

import os

os.environ.setdefault("GLOG_v", "3")  # before MindSpore is imported

import pytest

from pangu_alpha.runtime.device import set_device

GUXIANG = (
    "我冒了严寒，回到相隔二千余里，别了二十余年的故乡去。\n"
    "时候既然是深冬；渐近故乡时，天气又阴晦了，冷风吹进船舱中，呜呜的响，从篷隙向外一望，苍黄的天底下，"
    "远近横着几个萧索的荒村，没有一些活气。我的心禁不住悲凉起来了。\n"
    "阿！这不是我二十年来时时记得的故乡？\n"
    "我所记得的故乡全不如此。我的故乡好得多了。但要我记起他的美丽，说出他的佳处来，却又没有影像，没有言辞了。"
    "仿佛也就如此。于是我自己解释说：故乡本也如此，——虽然没有进步，也未必有如我所感的悲凉，"
    "这只是我自己心情的改变罢了，因为我这次回乡，本没有什么好心绪。\n"
)
KONGYIJI = (
    "鲁镇的酒店的格局，是和别处不同的：都是当街一个曲尺形的大柜台，柜里面预备着热水，可以随时温酒。\n"
    "做工的人，傍午傍晚散了工，每每花四文铜钱，买一碗酒，——这是二十多年前的事，现在每碗要涨到十文。\n"
)


@pytest.fixture(scope="session", autouse=True)
def evaluation_on_cpu() -> None:
    set_device("cpu")


@pytest.fixture(scope="session")
def lu_xun() -> list[str]:
    return [GUXIANG, KONGYIJI]
