"""The learning rate of an update, as a pure function."""

from __future__ import annotations

import math

from pangu_alpha.config import ScheduleConfig


def learning_rate(schedule: ScheduleConfig, num_updates: int) -> float:
    """Linear warm-up from 0, then a cosine from the peak to the end, then the end (released code; paper Table 5).

    Args:
        num_updates: made before this one. The first update already learns: it gets 1/warmup_steps of the peak.
    """
    if num_updates < schedule.warmup_steps:
        return schedule.learning_rate * (num_updates + 1) / schedule.warmup_steps
    done = min((num_updates - schedule.warmup_steps) / (schedule.decay_steps - schedule.warmup_steps), 1.0)
    fall = schedule.learning_rate - schedule.end_learning_rate
    return schedule.end_learning_rate + 0.5 * fall * (1 + math.cos(math.pi * done))
