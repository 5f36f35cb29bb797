"""When a job is started again, and when that is given up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pangu_alpha.cluster.launching.restarts import supervise


def _run(ends: list[tuple[int, int | None]], num_restarts: int) -> tuple[int, list[int]]:
    """The exit code and the attempts of a job whose attempts end with these exit codes and steps."""
    attempts: list[int] = []
    remaining: Iterator[tuple[int, int | None]] = iter(ends)
    step: list[int | None] = [None]

    def run_attempt(attempt: int) -> int:
        attempts.append(attempt)
        code, step[0] = next(remaining)
        return code

    return supervise(run_attempt, num_restarts, lambda: step[0]), attempts


def test_a_good_end_needs_no_restart(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run([(0, 100)], 3) == (0, [0])
    assert capsys.readouterr().err == ""


def test_it_starts_again_until_it_ends_well() -> None:
    assert _run([(1, 10), (1, 25), (0, 100)], 3) == (0, [0, 1, 2])


@pytest.mark.parametrize("code", [130, 143])
def test_a_job_that_was_stopped_stays_stopped(code: int) -> None:
    assert _run([(code, 10), (0, 100)], 3) == (code, [0])


def test_the_same_step_twice_ends_it_with_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run([(1, 57), (1, 80), (1, 57), (0, 100)], 9) == (1, [0, 1, 2])
    report = capsys.readouterr().err
    assert "giving up: two attempts failed in step 58" in report
    assert "attempt 0: failed in step 58, exit code 1" in report
    assert "attempt 1: failed in step 81" in report
    assert "attempt 2" in report


def test_failing_before_the_first_step_twice_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run([(1, None), (1, None), (0, 100)], 9) == (1, [0, 1])
    assert "two attempts failed before its first step" in capsys.readouterr().err


def test_restarts_run_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run([(1, 1), (1, 2), (1, 3)], 2) == (1, [0, 1, 2])
    assert "all 2 restarts are used" in capsys.readouterr().err


def test_without_restarts_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run([(1, 1)], 0) == (1, [0])
    assert capsys.readouterr().err == ""
