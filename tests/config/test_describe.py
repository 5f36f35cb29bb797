from __future__ import annotations

import re
from pathlib import Path

from pangu_alpha.config import load_config
from pangu_alpha.config.describe import settings_page

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_in_docs_is_the_schema() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings_page()


def test_every_setting_of_a_recipe_is_on_the_page() -> None:
    page = settings_page()

    def check(prefix: str, values: dict[str, object]) -> None:
        for name, value in values.items():
            if isinstance(value, dict):
                check(f"{prefix}{name}.", value)
            else:
                assert f"| `{prefix}{name}` |" in page, f"{prefix}{name}"

    check("", load_config("200b_2048").model_dump())


def test_a_row_says_values_default_and_meaning() -> None:
    row = next(line for line in settings_page().splitlines() if line.startswith("| `train.seed`"))
    assert row == "| `train.seed` | whole number, ≥ 0, < 4294967296 | `1` | Seed of weights, data order and dropout. |"
    assert "| `data.train[i].weight` | number, > 0 | `1` |" in settings_page()


def test_no_setting_is_without_a_meaning() -> None:
    rows = re.findall(r"^\| `[^|]*\|[^|]*\|[^|]*\|([^|]*)\|$", settings_page(), re.MULTILINE)
    assert len(rows) > 40
    assert all(row.strip().endswith((".", ":")) for row in rows)
