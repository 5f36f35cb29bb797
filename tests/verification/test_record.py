"""What documents say of the layouts that were executed is what `docs/verified/verdicts.json` says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pangu_alpha.verification.cases import all_cases
from pangu_alpha.verification.parity import Verdict
from pangu_alpha.verification.verdicts import RESULTS, read_verdicts

ROOT = Path(__file__).parents[2]
PARALLELISM = ROOT / "docs" / "parallelism.md"


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    kept = read_verdicts(ROOT / "docs" / "verified")
    (code,) = {code for versions in kept.values() for code in versions}  # all of the same
    assert f"`{code[:12]}`" in PARALLELISM.read_text(encoding="utf-8"), f"another code than that of {RESULTS}"
    return [verdict for versions in kept.values() for verdict in versions.values()]


def test_the_layouts_that_documents_call_good_are(verdicts: list[Verdict]) -> None:
    cases = {str(case) for case in all_cases()}
    executed = {verdict.case for verdict in verdicts}
    assert executed <= cases and all(verdict.is_good for verdict in verdicts)
    all_of_them = len(executed) == len(cases)
    stated = f"all {len(cases)} layouts" if all_of_them else f"{len(executed)} of the {len(cases)} layouts"
    for document in (ROOT / "README.md", PARALLELISM):
        assert stated in document.read_text(encoding="utf-8").lower(), document.name


def test_the_largest_differences_are_those_that_documents_show(verdicts: list[Verdict]) -> None:
    shown = re.findall(r"^\| (float\d\d [\w' ]+) \| (\S+) \| (\S+) \|", PARALLELISM.read_text(encoding="utf-8"), re.M)
    found: dict[str, tuple[float, float]] = {}
    for difference in (item for verdict in verdicts for item in verdict.differences if item.limit):
        largest = max(difference.value, *found.get(difference.what, (0.0,))[:1])
        found[difference.what] = (largest, difference.limit)
    assert {what: (float(value), float(limit)) for what, value, limit in shown} == {
        what: (float(f"{value:.1e}"), limit) for what, (value, limit) in found.items()
    }
