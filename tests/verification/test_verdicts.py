"""Verdicts are kept and found again."""

from __future__ import annotations

from pathlib import Path

import pytest

from pangu_alpha.verification import verdicts
from pangu_alpha.verification.cases import Case, quick_cases
from pangu_alpha.verification.parity import Difference, Verdict


def verdict_of(case: Case, value: float) -> Verdict:
    return Verdict(str(case), [Difference("float64 loss", value, 1e-12, "step 0"), Difference("skipped", 0, 0)])


def test_good_verdicts_are_not_made_again_and_bad_ones_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = quick_cases()[:3]
    executed: list[str] = []
    compiled: list[str] = []

    def verify(case: Case, num_jobs: int | None) -> Verdict:
        executed.append(str(case))
        return verdict_of(case, 1.0 if case is cases[1] else 1e-15)

    monkeypatch.setattr(verdicts, "verify", verify)
    monkeypatch.setattr(verdicts, "compile_programs", lambda case, num_jobs: compiled.append(str(case)))
    first = list(verdicts.verify_all(cases, tmp_path, None))
    assert [item.is_good for item in first] == [True, False, True]
    assert list(verdicts.verify_all(cases, tmp_path, None)) == first
    assert executed == compiled == [str(case) for case in (*cases, cases[1])]
    monkeypatch.setattr(verdicts, "verdict_version", lambda: "other code")
    list(verdicts.verify_all(cases, tmp_path, None))
    assert len(executed) == 7


@pytest.mark.parametrize("content", [b"", b"\0\0", b'{"dp2": ', b"[]", b'{"dp2": {"code": {"case": 1}}}'])
def test_damaged_verdicts_are_made_again(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / verdicts.RESULTS).write_bytes(content)
    monkeypatch.setattr(verdicts, "verify", lambda case, _: verdict_of(case, 1e-15))
    monkeypatch.setattr(verdicts, "compile_programs", lambda case, num_jobs: None)
    (verdict,) = verdicts.verify_all(quick_cases()[:1], tmp_path, None)
    assert verdict.is_good and f"{verdicts.RESULTS} is damaged" in capsys.readouterr().err


def test_a_difference_that_is_not_a_number_is_wrong() -> None:
    assert not Difference("float64 loss", float("nan"), 1e-12).is_good
    assert not verdict_of(quick_cases()[0], 1e-11).is_good
    assert not Verdict("dp2", failure="MindSpore does not compile rank 0").is_good
