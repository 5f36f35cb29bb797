"""`pangu verify` to its end, with verdicts that are given: executing a layout is tested beside `verification`."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from pangu_alpha.cli.main import main
from pangu_alpha.verification import verdicts
from pangu_alpha.verification.cases import Case
from pangu_alpha.verification.parity import Difference, Verdict

WORDS = ["verify", "--only", "dp2 mp1 pp1 sharded whole"]


def give(monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
    """Let each layout come to these differences, in their order."""
    waiting = list(values)

    def verify(case: Case, num_jobs: int | None) -> Verdict:
        norm = Difference("float64 gradient norm", waiting.pop(0), 1e-12, "step 0")
        return Verdict(str(case), [norm, Difference("float16 skipped steps", 0, 0)])

    monkeypatch.setattr(verdicts, "verify", verify)
    monkeypatch.setattr(verdicts, "compile_programs", lambda case, num_jobs: None)


def test_layouts_that_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch, 0.0, 3e-15)
    assert main([*WORDS, "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "2 of 2 layouts agree with one device" in printed and "3.0e-15" in printed
    assert {path.name for path in tmp_path.iterdir()} == {verdicts.RESULTS, "verify.png"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.0])
def test_a_layout_that_differs_is_named_whatever_the_difference_is(
    value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch, value, 1e-15)
    with pytest.raises(SystemExit) as end:
        main([*WORDS, "--output", str(tmp_path)])
    assert end.value.code == 1
    printed = capsys.readouterr()
    assert f"float64 gradient norm differs by {value:.1e} at step 0" in printed.err
    assert "1 of 2 layouts agree with one device" in printed.out and f"{value:.1e}" in printed.out
    assert (tmp_path / "verify.png").exists()

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    json.loads((tmp_path / verdicts.RESULTS).read_text(), parse_constant=refuse)
    (wrong,) = (
        verdict
        for versions in verdicts.read_verdicts(tmp_path).values()
        for verdict in versions.values()
        if not verdict.is_good
    )
    assert math.isnan(wrong.differences[0].value) or wrong.differences[0].value == value


def test_a_second_one_on_the_same_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch, 1e-15, 1e-15)
    with verdicts.only_one(tmp_path / ".lock", "verdicts", "wait"):
        assert main([*WORDS, "--output", str(tmp_path)]) == 2
    assert "is in use by process" in capsys.readouterr().err
    assert not (tmp_path / verdicts.RESULTS).exists()
