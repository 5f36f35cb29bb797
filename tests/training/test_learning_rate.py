from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_alpha.config import ScheduleConfig
from pangu_alpha.training.learning_rate import learning_rate

SCHEDULE = ScheduleConfig(learning_rate=1e-4, end_learning_rate=1e-6, warmup_steps=2000, decay_steps=80000)


def test_known_points() -> None:
    assert learning_rate(SCHEDULE, 0) == pytest.approx(1e-4 / 2000)
    assert learning_rate(SCHEDULE, 1999) == pytest.approx(1e-4)
    assert learning_rate(SCHEDULE, 2000) == pytest.approx(1e-4)
    assert learning_rate(SCHEDULE, 41000) == pytest.approx((1e-4 + 1e-6) / 2)
    assert learning_rate(SCHEDULE, 80000) == learning_rate(SCHEDULE, 10**7) == pytest.approx(1e-6)


def test_no_warmup_starts_at_the_peak() -> None:
    schedule = ScheduleConfig(learning_rate=1.0, end_learning_rate=0.0, warmup_steps=0, decay_steps=4)
    assert [learning_rate(schedule, step) for step in range(5)] == pytest.approx(
        [0.5 * (1 + math.cos(math.pi * step / 4)) for step in range(5)]
    )


@given(st.integers(0, 100_000))
def test_it_rises_then_falls(step: int) -> None:
    here, after = learning_rate(SCHEDULE, step), learning_rate(SCHEDULE, step + 1)
    assert here <= after if step < SCHEDULE.warmup_steps - 1 else here >= after
    assert 0 < here <= 1e-4
