from __future__ import annotations

import re
from pathlib import Path

from pangu_alpha.parallel.describe import sharding_page
from pangu_alpha.parallel.parameters import PARAMETERS
from pangu_alpha.parallel.table import sharding_table

PAGE = Path(__file__).parents[2] / "docs" / "sharding_table.md"


def test_the_page_in_docs_is_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == sharding_page(), (
        "docs/sharding_table.md is not made from this table. Make it again: "
        "python -m pangu_alpha.parallel.describe > docs/sharding_table.md"
    )


def test_every_row_and_parameter_is_on_the_page_once() -> None:
    named: list[str] = []
    places: list[str] = []
    for line in sharding_page().splitlines():
        if line.startswith("## "):
            places = line[3:].split(", ")
        elif match := re.match(r"\| `([\w.]+)`", line):
            named += [match[1]] if places == ["Parameters"] else [f"{place}.{match[1]}" for place in places]
    assert sorted(named) == sorted([*sharding_table(False), *PARAMETERS])


def test_how_a_row_is_drawn() -> None:
    page = sharding_page()
    assert "| `output.matmul` | `[dp, mp]` `[mp, –]` → `[dp, –]` | `[dp, mp]` `[mp, –]` → `[dp×mp, –]` |" in page
    assert "| `query.matmul` | `[dp, –]` `[–, mp]` | = |" in page
    assert "| `layer.attention.output.weight` | `[mp, –]` | `[mp×dp, –]` |" in page
    assert "| `embedding.word.table` | `[mp, –]` | = |" in page
