from __future__ import annotations

import io
import sys

import pytest

from pangu_alpha import console
from pangu_alpha.console import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_count_this_start_and_give_the_recent_speed(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("training", 1000, "steps", done=500) as advance:
        for rate in [1] * 20 + [3] * 10:
            clock[0] += 10
            advance(10 * rate)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "training: 51%, 10 steps, 1/s, 8 min 10 s left"
    assert lines[-2] == "training: 100%, 500 steps, 3/s, 0.0 s left"
    assert lines[-1] == "training: done, 500 steps in 5 min 00 s (1.67/s)"


def test_a_slow_start_is_not_part_of_the_speed(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress("training", 100, "steps", done=50, slow_start=True) as advance:
        for seconds in [300, *[2] * 5]:
            clock[0] += seconds
            advance(1)
    assert capsys.readouterr().err.splitlines()[0] == "training: 56%, 6 steps, 0.5/s, 1 min 28 s left"


def test_work_that_takes_long_shows_life(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress("compiling", 4, "programs") as advance:
        for _ in range(100):
            clock[0] += 0.5
            advance(0)
        assert len(capsys.readouterr().err.splitlines()) == 5
        clock[0] += 10
        advance(0)
        assert capsys.readouterr().err == "compiling: 0%, 0 programs, 0/s, 1 min 00 s\n"


def test_the_bar_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    with progress("validating", 123_400_000, "programs", done=100) as advance:
        advance(123_000_000)
    lines = screen.getvalue().rstrip().splitlines()
    assert len(lines) == 1 and len(lines[0]) <= 80
    assert "100%" in lines[0] and "123M programs" in lines[0]
