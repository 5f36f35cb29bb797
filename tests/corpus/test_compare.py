"""Two recipes, two networks, one text of quality: the whole loop with real processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.corpus.conftest import chinese_text, write_jsonl
from tests.corpus.test_running import pangu_corpus


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Text of which a fifth is there twice, a text of quality, and recipes that differ in duplicates."""
    texts = [chinese_text(seed) for seed in range(60)]
    write_jsonl(tmp_path / "a.jsonl", [*texts, *texts[:12]])
    write_jsonl(tmp_path / "dev.jsonl", [chinese_text(seed, 40) for seed in range(900, 906)])
    (tmp_path / "raw.yaml").write_text("duplicates: {exact: false, near: null}\n", encoding="utf-8")
    (tmp_path / "clean.yaml").write_text("duplicates: {exact: true}\n", encoding="utf-8")
    return tmp_path


def words_for(*more: str) -> list[str]:
    return ["compare", "raw.yaml", "clean.yaml", "--input", "a.jsonl", "--output", "out", "--vocab-size", "430", *more]


def test_two_recipes_are_compared_and_what_is_done_is_not_done_again(folder: Path) -> None:
    done = pangu_corpus(folder, *words_for("--dev", "dev.jsonl", "--tokens", "20480"), timeout=500)
    assert done.returncode == 0, done.stderr
    assert "20,480 of each corpus" in done.stdout and "(95 %): " in done.stdout
    more = pangu_corpus(folder, *words_for("--dev", "dev.jsonl", "--tokens", "20480", "--seeds", "2"), timeout=500)
    assert more.returncode == 0, more.stderr
    assert more.stdout.count("done before") == 7 and more.stdout.count("[11/11]") == 1
    [ratio] = [line.split()[1].rstrip(",") for line in done.stdout.splitlines() if line.startswith("ratio")]
    [seeds] = [line for line in more.stdout.splitlines() if line.startswith("seeds")]
    assert seeds.split()[1] == f"{ratio}," and seeds.split()[2] != ratio  # the second has other weights


def test_too_little_text_and_no_text_of_quality_are_sentences(folder: Path) -> None:
    few = pangu_corpus(folder, *words_for("--dev", "dev.jsonl", "--tokens", "90000000"))
    assert few.returncode == 2 and "--tokens must be from 5,120 to those of the smaller one" in few.stderr
    zero = pangu_corpus(folder, *words_for("--dev", "dev.jsonl", "--seeds", "0"))
    assert zero.returncode == 2 and "--seeds 0: give 1 or more" in zero.stderr
    none = pangu_corpus(folder, *words_for("--dev", "none.jsonl"))
    assert none.returncode == 2 and "none.jsonl: there is no such file" in none.stderr
