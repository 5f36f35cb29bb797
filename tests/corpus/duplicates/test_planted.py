"""Planted duplicates are found, and nothing else is taken for one."""

from __future__ import annotations

import random
from pathlib import Path

from tests.corpus.conftest import chinese_text, write_jsonl
from tests.corpus.test_running import ledger

from pangu_alpha.corpus.engine import Processes
from pangu_alpha.corpus.load import load_recipe
from pangu_alpha.corpus.running import run_corpus

TRADITIONAL = str.maketrans("汉乱东车马门问间国时会长发后里", "漢亂東車馬門問間國時會長發後裡")


def cut(text: str, draw: random.Random) -> str:
    return text[: round(0.9 * len(text))]


def changed(text: str, draw: random.Random) -> str:
    characters = list(text)
    for place in draw.sample(range(len(text)), round(0.02 * len(text))):
        characters[place] = chr(draw.randrange(0x4E00, 0x9000))
    return "".join(characters)


def moved(text: str, draw: random.Random) -> str:
    paragraphs = text.split("\n")
    draw.shuffle(paragraphs)
    return "\n".join(paragraphs)


def traditional(text: str, draw: random.Random) -> str:
    return text.translate(TRADITIONAL)


def test_planted_duplicates_are_found_and_other_texts_stay(tmp_path: Path) -> None:
    draw = random.Random(3)
    originals = [chinese_text(seed, draw.randrange(7, 40)) for seed in range(300)]
    short = [chinese_text(1000 + seed, 6) for seed in range(300)]
    planted = [change(text, draw) for change in (cut, changed, moved, traditional) for text in originals]
    write_jsonl(tmp_path / "a.jsonl", [*originals, *short])
    write_jsonl(tmp_path / "b.jsonl", planted)
    recipe = load_recipe("pangu_alpha_2021")
    inputs = [("news", tmp_path / "a.jsonl"), ("common_crawl", tmp_path / "b.jsonl")]
    engine = Processes(1)
    run_corpus(recipe, inputs, tmp_path / "out", engine)
    engine.close()
    rows = ledger(tmp_path / "out")
    fallen = [row["dropped_by"] or "" for row in rows]
    assert not any(reason.endswith("duplicate") for reason in fallen[:600])
    assert sum(reason.endswith("duplicate") for reason in fallen[600:]) >= 0.98 * len(planted)
    right = [row["cluster"] == number % 300 for number, row in enumerate(rows[600:]) if row["cluster"] is not None]
    assert all(right)
