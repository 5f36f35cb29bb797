"""The verbs that look: inspect, plan, report, sample."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.corpus.conftest import chinese_text, write_jsonl
from tests.corpus.test_running import pangu_corpus

RECIPE = "preset: pangu_alpha_2021\nsources: {web: {}}\nlimits: {piece_bytes: 20000}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text with one advertisement, and its corpus in `out`."""
    folder = tmp_path_factory.mktemp("looking")
    texts = [chinese_text(seed) for seed in range(30)]
    page = f"首页\n新闻\n体育\n财经\n{texts[5]}<b>\n加微信，免费领取，扫码关注，货到付款。"
    write_jsonl(folder / "a.jsonl", [page, *texts, texts[3][:-40], texts[3][:-45], "短。"])
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    done = pangu_corpus(folder, "run", "recipe.yaml", "--input", "a.jsonl", "--output", "out", "--workers", "1")
    assert done.returncode == 0, done.stderr
    return folder


def test_inspect_shows_what_each_rule_measures_and_takes(folder: Path) -> None:
    done = pangu_corpus(folder, "inspect", "recipe.yaml", "--input", "a.jsonl", "--documents", "1")
    lines = done.stdout.splitlines()
    assert lines[0] == f"--- {folder / 'a.jsonl'}, 0: advertisement"
    assert lines[3].split() == ["navigation", "12"] and lines[4:8] == [
        f"      - {word}" for word in ("首页", "新闻", "体育", "财经")
    ]
    assert "✗ advertisement                       4  max 2" in lines


def test_inspect_puts_recipes_side_by_side(folder: Path) -> None:
    done = pangu_corpus(folder, "inspect", "recipe.yaml", "ccnet_zh", "--input", "a.jsonl", "--documents", "40")
    lines = done.stdout.splitlines()
    assert lines[1].split()[:2] == ["advertisement", "stays"] and lines[-2].split()[:2] == ["chinese_share", "length"]
    assert lines[-1].split() == ["32", "of", "34", "stay", "33", "of", "34", "stay"]


def test_report_counts_and_draws(folder: Path) -> None:
    done = pangu_corpus(folder, "report", "out")
    counted = dict(re.findall(r"^  (\w+) +(\d+) ", done.stdout, re.MULTILINE))
    assert counted == {"stays": "30", "near_duplicate": "2", "advertisement": "1", "chinese_share": "1"}
    assert "duplicates: 2 in 1 clusters, the largest of 3 documents" in done.stdout
    for name in ("fates", "lengths", "clusters"):
        assert (folder / "out" / "report" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    wrong = pangu_corpus(folder, "report", "nothing")
    assert wrong.returncode == 2 and "nothing has no ledger" in wrong.stderr


def test_sample_shows_documents_before_and_after_without_running_their_html(folder: Path) -> None:
    words = ["sample", "out", "--output", "page.html"]
    done = pangu_corpus(folder, *words, "--dropped-by", "advertisement")
    assert done.returncode == 0, done.stderr
    page = (folder / "page.html").read_text(encoding="utf-8")
    before, after = re.findall(r"<td>(.*?)(?=<td>|</table>)", page, re.DOTALL)
    assert before.startswith("首页") and not after.startswith("首页") and "&lt;b&gt;" in before
    assert pangu_corpus(folder, *words, "--number", "99").stdout.endswith(": 34 documents\n")
    wrong = pangu_corpus(folder, *words, "--dropped-by", "weather")
    assert wrong.returncode == 2 and "no document fell to weather" in wrong.stderr


def test_plan_foretells_the_disk_of_the_whole_from_a_part(folder: Path) -> None:
    done = pangu_corpus(folder, "plan", "recipe.yaml", "--input", "a.jsonl", "--workers", "2", "--seconds", "0")
    assert done.returncode == 0, done.stderr
    size = (folder / "a.jsonl").stat().st_size
    part = float(re.findall(r"sample  ([\d.]+)k of", done.stdout)[0]) * 1000
    assert part == pytest.approx(20_000, rel=0.01) and part < size
    assert re.search(r"with 2 workers", done.stdout) and re.search(r"cleaning +[\d.]+ s ", done.stdout)


def test_plan_is_not_misled_by_empty_files(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.txt").touch()
    (tmp_path / "empty" / "b.parquet").touch()
    (tmp_path / "two.yaml").write_text("preset: mnbvc\nsources: {none: {}, web: {}}\n", encoding="utf-8")
    inputs = ["--input", "none=empty", f"web={folder / 'a.jsonl'}"]
    done = pangu_corpus(tmp_path, "plan", "two.yaml", *inputs, "--seconds", "0.001")
    assert done.returncode == 0 and "time    " in done.stdout, done.stderr
    done = pangu_corpus(tmp_path, "plan", "mnbvc", "--input", "empty")
    assert done.returncode == 2 and "nothing to read: no byte in empty" in done.stderr
