"""Each rule on text of which the right answer is known."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import CHUSHIBIAO, SANGUO

from pangu_alpha.corpus.load import list_presets, load_recipe
from pangu_alpha.corpus.rules import RULES
from pangu_alpha.errors import ConfigError


def value(rule: str, text: str, **settings: object) -> float:
    return RULES[rule].apply(text, {**RULES[rule].settings, **settings})[1]


def changed(rule: str, text: str, **settings: object) -> str:
    return RULES[rule].apply(text, {**RULES[rule].settings, **settings})[0]


def stays(rule: str, text: str, **settings: object) -> bool:
    return RULES[rule].apply(text, {**RULES[rule].settings, **settings})[2]


def test_thresholds_of_the_paper_are_where_it_says() -> None:
    assert stays("length", "天" * 150) and not stays("length", "天" * 149 + " \n")
    assert stays("chinese_share", "天下大势分合" + "abcd") and not stays("chinese_share", "天下大势分" + "abcd")
    words = "网络赌博，毒品交易，假钞，"
    assert stays("sensitive_words", words) and not stays("sensitive_words", words + "假钞")
    assert stays("sentences", "话说。") and not stays("sentences", "三国演义 第一回\n桃园结义")


def test_han_characters_are_letters() -> None:
    # A published filter counts them as non-alphabetic and drops all Chinese.
    assert value("letter_words", SANGUO.replace("，", "").replace("。", "")) > 0.9
    assert value("chinese_share", "㐀䶿一鿿𠀀") == 1.0


def test_full_width_punctuation_and_quotes_stay() -> None:
    # A published cleaner makes ASCII of them.
    text = "他说：“好（真的）！”吗？……《书》、〈文〉；１２ＡＢ～"
    assert changed("special_symbols", text) == text


def test_special_symbols_go() -> None:
    assert changed("special_symbols", "天\u200b下\ufeff大\x00势▲●☎→😀\ue000──\ufffd分\u3000久") == "天下大势分 久"
    assert changed("special_symbols", "一\n==========\n二") == "一\n===\n二"


def test_traditional_becomes_simplified() -> None:
    assert changed("simplify", "話說天下大勢") == "话说天下大势"
    assert value("simplify", "話說天下大勢") == 3
    assert value("traditional_share", "話說天下大勢") == pytest.approx(0.5)
    assert value("traditional_share", SANGUO) < 0.02


def test_navigation_goes_and_text_and_poems_stay() -> None:
    menu = "首页\n新闻\n体育\n财经\n娱乐"
    bar = "首页 | 新闻 | 体育 | 财经 | 联系我们"
    poem = "床前明月光，\n疑是地上霜。\n举头望明月，\n低头思故乡。"
    page = f"{menu}\n{SANGUO.strip()}\n{bar}\n{poem}\n关于我们"
    assert changed("navigation", page) == f"{SANGUO.strip()}\n{poem}\n关于我们"


def test_paragraphs_that_are_there_twice_go_once() -> None:
    page = "\n".join([SANGUO.strip(), "短。", CHUSHIBIAO.strip(), "短。", SANGUO.strip()])
    assert changed("repeated_paragraphs", page) == "\n".join([SANGUO.strip(), "短。", CHUSHIBIAO.strip(), "短。"])


def test_words_are_found_through_tricks() -> None:
    assert value("advertisement", "请 加微\u200b信，ＱＱ 也行，「優惠券」") == 2
    assert value("sensitive_words_a_line", "假钞\n天下\n大势\n分久") == 0.25


def test_a_list_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("# nothing\n", encoding="utf-8")
    for path, words in ((tmp_path / "none.txt", "cannot be read"), (empty, "has no word")):
        with pytest.raises(ConfigError, match=words):
            value("sensitive_words", SANGUO, words=str(path))


def test_repetition_inside_a_document() -> None:
    assert value("repeated_character_ngrams", "天下大势分久必合合久必分也" * 4) == pytest.approx(0.75)
    assert value("repeated_character_ngrams", SANGUO) == 0.0
    assert value("repeated_line_share", "一\n二\n一\n一") == 0.5
    assert value("repeated_line_characters", "天下\n大\n天下") == pytest.approx(0.4)
    assert value("top_2_words", "天下 大势 天下 大势 天下 大势 好") == pytest.approx(12 / 13)
    assert value("repeated_5_words", "天下大势 " * 30) > 0.8


def test_lines_and_words() -> None:
    assert value("line_length", "天下\n大势分久") == 3.0
    assert value("line_end_share", "天下。\n大势\n") == 0.5
    assert value("line_break_share", "天下\n大势\n天下") == pytest.approx(2 / 3)
    assert 1.0 <= value("word_length", SANGUO) <= 2.0
    assert value("stop_words", "他的书在这里") >= 2
    assert changed("unfinished_end", "天下。大势。”分久") == "天下。大势。”"
    assert changed("short_paragraphs", "天下大势分久必合合久\n短。") == "天下大势分久必合合久"


def test_private_data_is_named_instead() -> None:
    text = "电话13812345678，邮箱 li.si@example.com，身份证11010519491231002X，编号123456789012345678901"
    assert changed("private_data", text) == "电话[电话]，邮箱 [邮箱]，身份证[身份证]，编号123456789012345678901"


@pytest.mark.parametrize(
    ("rule", "settings", "sentence"),
    [
        ("chinese_share", {"min": math.nan}, "chinese_share.min = 'nan' is not a finite number"),
        ("perplexity", {"max": math.inf, "model": "m"}, "is not a finite number"),
        ("length", {"min": True}, "is not a finite number"),
        ("length", {"min": "many"}, "is not a finite number"),
        ("chinese_share", {"min": 60}, "drops every text: it measures numbers from 0 to 1"),
        ("perplexity", {"max": 0.5, "model": "m"}, "drops every text: it measures numbers from 1 on"),
        ("word_length", {"min": 5, "max": 1}, "its min, 5, is above its max, 1"),
    ],
)
def test_a_bound_that_means_nothing_or_drops_all_is_refused(rule: str, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        RULES.settings(rule, settings)


def test_numbers_as_people_write_them_are_numbers() -> None:
    assert RULES.settings("length", {"min": "1.0e2"})["min"] == RULES.settings("length", {"min": "1e+2"})["min"] == 100
    assert RULES.settings("quality_sampled", {"min": -0.5, "model": "m"})["min"] == -0.5


@pytest.mark.parametrize("preset", list_presets())
def test_presets_are_recipes_and_good_text_passes_them(preset: str) -> None:
    recipe = load_recipe(preset)
    text = f"{SANGUO.strip()}{CHUSHIBIAO.strip()}是的。\n"
    text += "臣本布衣，躬耕于南阳，苟全性命于乱世，不求闻达于诸侯。先帝不以臣卑鄙，猥自枉屈，三顾臣于草庐之中。"
    for name, settings in recipe.rules.items():
        text, _, stay = RULES[name].apply(text, settings)
        assert stay, name
