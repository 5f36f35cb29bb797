"""Planted duplicates are found, and nothing else is taken for one."""

from __future__ import annotations

import random
import runpy
from pathlib import Path

from tests.conftest import ROOT
from tests.corpus.conftest import REAL, chinese_text, write_jsonl
from tests.corpus.test_running import ledger

from pangu_alpha.corpus.engine import Processes
from pangu_alpha.corpus.load import load_recipe
from pangu_alpha.corpus.running import run_corpus

plantings = runpy.run_path(str(ROOT / "benchmarks" / "corpus.py"))["plantings"]
"""The same as are measured on large texts."""


def test_planted_duplicates_are_found_and_other_texts_stay(tmp_path: Path) -> None:
    draw = random.Random(3)
    originals = [*REAL, *(chinese_text(seed, draw.randrange(7, 40)) for seed in range(300))]
    short = [chinese_text(1000 + seed, 6) for seed in range(300)]
    planted = [change(text) for change in plantings(draw).values() for text in originals]
    write_jsonl(tmp_path / "a.jsonl", [*originals, *short])
    write_jsonl(tmp_path / "b.jsonl", planted)
    inputs = [("news", tmp_path / "a.jsonl"), ("common_crawl", tmp_path / "b.jsonl")]
    engine = Processes(1)
    run_corpus(load_recipe("pangu_alpha_2021"), inputs, tmp_path / "out", engine)
    engine.close()
    rows = ledger(tmp_path / "out")
    first, second = rows[: len(rows) - len(planted)], rows[-len(planted) :]
    assert not any(row["dropped_by"] for row in first) and len(first) == len(originals) + len(short)
    found = [(row["dropped_by"] or "").endswith("duplicate") for row in second]
    assert sum(found) >= 0.98 * len(planted)
    for start in range(0, len(planted), len(originals)):
        assert all(found[start : start + len(REAL)])  # of real prose every one
    right = [row["cluster"] == i % len(originals) for i, row in enumerate(second) if row["cluster"] is not None]
    assert all(right)
