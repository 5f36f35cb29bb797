"""What documents and docstrings name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "pangu_alpha"
DOCUMENTS = [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*.md")), *sorted(PACKAGE.rglob("*.py"))]
_NAMED = re.compile(r"`((?:[\w.-]+/)+[\w-]*(?:\.(?:py|sh|md|toml|yaml|cpp))?)`")
"""A path in backquotes: a folder, or a file whose ending says that it is one of this project."""
_ROOMS = {path.name for path in (*ROOT.iterdir(), *PACKAGE.iterdir()) if path.is_dir()} - {"runs"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_that_is_named_is_there(document: Path) -> None:
    named = [name for name in _NAMED.findall(document.read_text(encoding="utf-8")) if name.split("/")[0] in _ROOMS]
    places = (ROOT, PACKAGE, document.parent)
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


def test_links_between_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        if document.suffix == ".md":
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
                assert (document.parent / target).exists(), f"{document.name}: {target}"
