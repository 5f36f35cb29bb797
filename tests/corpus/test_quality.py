"""Classifiers with their threshold, and the comparison of two networks."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from tests.corpus.conftest import chinese_text, write_jsonl
from tests.corpus.test_running import ledger, pangu_corpus

from pangu_alpha.corpus.quality import compare
from pangu_alpha.corpus.rules import RULES
from pangu_alpha.corpus.rules.perplexity import learn
from pangu_alpha.corpus.training import choose_threshold
from pangu_alpha.errors import ConfigError, DataError

_SPAM = "立即购买限时优惠加微信免费领取包邮彩票注册送现金"


def spam(seed: int) -> str:
    draw = random.Random(seed)
    return "。".join("".join(draw.choices(_SPAM, k=20)) for _ in range(12)) + "。"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a model of spam, and what training has printed."""
    folder = tmp_path_factory.mktemp("classifier")
    write_jsonl(folder / "good.jsonl", [chinese_text(seed) for seed in range(150)])
    write_jsonl(folder / "bad.jsonl", [spam(seed) for seed in range(150)])
    words = ["train", "--good", "good.jsonl", "--bad", "bad.jsonl", "--output", "model"]
    done = pangu_corpus(folder, *words, "--precision", "0.98")
    assert done.returncode == 0, done.stderr
    again = pangu_corpus(folder, *words[:-1], "again")
    assert again.returncode == 0
    assert (folder / "model" / "model.bin").read_bytes() == (folder / "again" / "model.bin").read_bytes()
    return folder, done.stdout


def test_a_trained_classifier_drops_spam_from_a_corpus(trained: tuple[Path, str]) -> None:
    folder, said = trained
    info = json.loads((folder / "model" / "info.json").read_text(encoding="utf-8"))
    assert info["precision"] >= 0.98 and info["recall"] >= 0.9 and f"min: {info['threshold']:.6g}" in said
    rule = f"{{spam: {{model: model/model.bin, min: {info['threshold']:.6g}}}}}"
    (folder / "recipe.yaml").write_text(f"rules: {rule}\n", encoding="utf-8")
    write_jsonl(folder / "a.jsonl", [chinese_text(1000), spam(1000), chinese_text(1001), spam(1001)])
    done = pangu_corpus(folder, "run", "recipe.yaml", "--input", "a.jsonl", "--output", "out")
    assert done.returncode == 0, done.stderr
    assert [row["dropped_by"] for row in ledger(folder / "out")] == [None, "spam", None, "spam"]


def test_sampled_quality_keeps_some_of_low_quality_as_gpt_3_does(trained: tuple[Path, str]) -> None:
    model = str(trained[0] / "model" / "model.bin")
    settings = {**RULES["quality_sampled"].settings, "model": model, "alpha": 9}
    texts = [spam(seed) for seed in range(2000)]
    scores = np.array([RULES["quality"].function(text, model) for text in texts])
    kept = np.array([RULES["quality_sampled"].apply(text, settings)[2] for text in texts])
    expected = np.mean((2 - scores) ** -9.0)  # P(pareto > 1 − s), of the distribution that NumPy calls pareto
    assert kept.mean() == pytest.approx(expected, abs=3 * np.sqrt(expected / len(texts)))
    assert 0 < kept.sum() < 100
    assert RULES["quality_sampled"].apply(texts[0], settings) == RULES["quality_sampled"].apply(texts[0], settings)


def test_a_language_model_cuts_the_web_in_three_and_its_rule_drops_the_tail(tmp_path: Path) -> None:
    good, web = [chinese_text(seed) for seed in range(60)], [chinese_text(seed) for seed in range(500, 560)]
    write_jsonl(tmp_path / "good.jsonl", good)
    write_jsonl(tmp_path / "web.jsonl", [*web, *(spam(seed) for seed in range(40))])  # 60 % are like the good ones
    words = ["train", "--good", "good.jsonl", "--web", "web.jsonl", "--output", "model"]
    done = pangu_corpus(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    cuts = json.loads((tmp_path / "model" / "info.json").read_text(encoding="utf-8"))
    assert 1 < cuts["head"] < cuts["middle"] and cuts["num_web"] == 100
    assert cuts["num_characters"] == sum(len("".join(text.split())) for text in good)
    rule = done.stdout.splitlines()[-1].removeprefix("recipe     ")
    (tmp_path / "recipe.yaml").write_text(f"preset: ccnet_zh\n{rule}\n", encoding="utf-8")
    done = pangu_corpus(tmp_path, "run", "recipe.yaml", "--input", "web.jsonl", "--output", "out", "--workers", "1")
    assert done.returncode == 0, done.stderr
    rows = ledger(tmp_path / "out")
    assert {row["dropped_by"] for row in rows[:60]} <= {None, "perplexity"} == {None, "perplexity"}
    short = sum(row["dropped_by"] == "length" for row in rows)
    assert sum(row["dropped_by"] == "perplexity" for row in rows) == 40 - short
    assert all(row["rule_perplexity"] > cuts["middle"] for row in rows if row["dropped_by"] == "perplexity")
    seen = pangu_corpus(tmp_path, "inspect", "recipe.yaml", "--input", "web.jsonl", "--first", "60", "--documents", "1")
    assert "perplexity" in seen.stdout and f"max {cuts['middle']:.6g}"[:8] in seen.stdout


def test_a_language_model_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    cost = RULES["perplexity"].function
    for content in (b"", b"no model", b"\x93NUMPY\x01\x00"):
        (tmp_path / "model").write_bytes(content)
        with pytest.raises(ConfigError, match="is no language model of `pangu corpus train --web`"):
            cost("天下", str(tmp_path / "model"))
        (tmp_path / "model").unlink()
    with pytest.raises(ConfigError, match="there is no language model"):
        cost("天下", str(tmp_path / "model"))
    row = np.zeros(3, np.uint32)
    of_a_shape = [row, row.astype(np.uint64), *[row.astype(np.float32)] * 2, row]
    for number, arrays in enumerate(([np.zeros((3, 2))] * 5, [row.astype(float)] * 5, of_a_shape)):
        with (tmp_path / f"arrays_{number}").open("wb") as file:
            for array in arrays:
                np.save(file, array)
        with pytest.raises(ConfigError, match="is no language model"):
            cost("天下", str(tmp_path / f"arrays_{number}"))
    learn([chinese_text(1)], tmp_path / "whole")
    assert 1 < cost(chinese_text(1), str(tmp_path / "whole")) < cost(chinese_text(2), str(tmp_path / "whole"))
    (tmp_path / "half").write_bytes((tmp_path / "whole").read_bytes()[:-1000])
    with pytest.raises(ConfigError, match="is no language model"):
        cost("天下", str(tmp_path / "half"))


def test_threshold_drops_most_with_the_wanted_precision() -> None:
    bad, good = np.array([0.1, 0.2, 0.3, 0.9]), np.array([0.25, 0.8, 0.95, 0.99])
    found = choose_threshold(good, bad, 1.0)  # 0.1 and 0.2 fall; 0.25 is good
    assert (found.threshold, found.precision, found.recall) == (pytest.approx(0.225), 1.0, 0.5)
    found = choose_threshold(good, bad, 0.6)  # all bad ones fall and, of the good ones, 0.25 and 0.8
    assert (found.threshold, found.precision, found.recall) == (pytest.approx(0.925), pytest.approx(2 / 3), 1.0)
    with pytest.raises(DataError, match="no threshold drops with a precision of 1"):
        choose_threshold(np.array([0.0, 0.0]), np.array([0.5, 0.6]), 1.0)


def test_too_few_texts_are_a_sentence(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [chinese_text(1)])
    done = pangu_corpus(tmp_path, "train", "--good", "a.jsonl", "--bad", "a.jsonl", "--output", "out")
    assert done.returncode == 2 and "10 are needed: give more" in done.stderr


@pytest.mark.parametrize(("web", "sentence"), [("few.jsonl", "--web has 99 texts"), ("none.jsonl", "none.jsonl")])
def test_web_texts_that_cut_nothing_are_found_before_the_model_is_made(tmp_path: Path, web: str, sentence: str) -> None:
    write_jsonl(tmp_path / "good.jsonl", [chinese_text(seed) for seed in range(10)])
    write_jsonl(tmp_path / "few.jsonl", [chinese_text(seed, 2) for seed in range(99)])
    done = pangu_corpus(tmp_path, "train", "--good", "good.jsonl", "--web", web, "--output", "out")
    assert done.returncode == 2 and sentence in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_interval_is_that_of_pairs() -> None:
    draw = np.random.default_rng(1)
    common = draw.normal(500, 100, 60)  # how hard a batch is, for both
    first = [(float(nats), 100) for nats in common]
    better = [(float(nats - 5 + noise), 100) for nats, noise in zip(common, draw.normal(0, 5, 60), strict=True)]
    same = [(float(nats + noise), 100) for nats, noise in zip(common, draw.normal(0, 5, 60), strict=True)]
    found = compare([first], [better])
    assert found.low < found.ratio < found.high < 1 and found.ratio == pytest.approx(np.exp(-0.05), abs=0.02)
    assert found.verdict == "the second is better" and compare([better], [first]).verdict == "the first is better"
    assert compare([first], [same]).verdict.startswith("no difference")
    twins = compare([first, first], [first, first])  # recipes that make the same corpus
    assert (twins.low, twins.ratio, twins.high) == (1, 1, 1) and not twins.seeds_disagree
    with pytest.raises(DataError, match="fills one batch"):
        compare([first[:1]], [better[:1]])
    with pytest.raises(DataError, match="same batches"):
        compare([first], [[(nats, 99) for nats, _ in first]])


def test_the_interval_of_several_seeds_holds_the_trainings_noise() -> None:
    draw = np.random.default_rng(1)
    tokens, held = [100] * 60, 0
    for _ in range(20):  # the truth: no difference; each training shifts its network by some 1 % on all of the text
        shifts = draw.normal(0, 1, (2, 3))
        nats = draw.normal(500, 100, 60) + shifts[:, :, None] + draw.normal(0, 1, (2, 3, 60))
        first, second = ([list(zip(one.tolist(), tokens, strict=True)) for one in some] for some in nats)
        found = compare(first, second)
        held += found.verdict.startswith("no difference")
        assert found.seeds_disagree == (len({ratio < 1 for ratio in found.ratios}) == 2)
        assert found.ratio == pytest.approx(np.prod(found.ratios) ** (1 / 3))
    assert held >= 17  # of 95 %
    alone = sum(compare([one], [other]).verdict.startswith("no") for one, other in zip(first, second, strict=True))
    assert alone < 3
