"""What a spike is, and what is remembered of the steps."""

from __future__ import annotations

import math

import pytest

from pangu_alpha.config import SpikeConfig
from pangu_alpha.training.result import StepResult
from pangu_alpha.training.scalars import Limits
from pangu_alpha.training.spikes import SpikeDetector


def result(loss: float, norm: float = 1.0, skipped: bool = False, is_spike: bool = False) -> StepResult:
    return StepResult(loss, norm, 10, skipped, is_spike)


def full(skip: bool = False) -> SpikeDetector:
    """After a window of losses of 3.0 and 3.1 and norms of 1."""
    detector = SpikeDetector(SpikeConfig(window=4, sigmas=6.0, skip=skip, max_skips=2))
    for loss in (3.0, 3.1, 3.0, 3.1):
        assert detector.take(result(loss)) == []
    return detector


def test_nothing_is_too_large_before_the_window_is_full() -> None:
    detector = SpikeDetector(SpikeConfig(window=4))
    for _ in range(3):
        assert detector.limits == Limits()
        assert detector.take(result(1e9)) == []


def test_a_value_far_above_the_last_ones_is_a_spike() -> None:
    detector = full()
    assert detector.limits.loss == pytest.approx(3.05 + 6 * 0.05)
    assert detector.take(result(3.34)) == []
    (spike,) = full().take(result(3.36))
    assert (spike.name, spike.value, spike.mean) == ("loss", 3.36, pytest.approx(3.05))
    assert [spike.name for spike in full().take(result(4.0, 2.0))] == ["loss", "grad_norm"]
    assert [spike.name for spike in full().take(result(math.nan))] == ["loss"]


def test_what_changed_nothing_is_not_compared_with() -> None:
    detector = full(skip=True)
    before = detector.limits
    assert len(detector.take(result(9.0, skipped=True, is_spike=True))) == 1
    assert detector.take(result(3.0, math.inf, skipped=True)) == [], "an overflow is none"
    assert detector.limits == before
    assert not detector.is_hopeless
    detector.take(result(9.0, skipped=True, is_spike=True))
    assert detector.is_hopeless


def test_a_step_in_between_gives_new_hope() -> None:
    detector = full(skip=True)
    for loss in (9.0, 3.0, 9.0):
        detector.take(result(loss, skipped=loss > 8, is_spike=loss > 8))
    assert not detector.is_hopeless


def test_a_resumed_run_has_the_same_limits() -> None:
    detector, other = full(), SpikeDetector(SpikeConfig(window=4))
    other.restore(detector.state())
    assert other.limits == detector.limits and other.state() == detector.state()
