"""Sudden rises of the loss or the gradient norm: found on the host, left out on the device. No MindSpore.

A value is a spike when it is more than `spikes.sigmas` standard deviations above the mean of the last `spikes.window`
steps. That limit is known before the step, so the device compares with it itself, and no rank waits for a host.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pangu_alpha.config import SpikeConfig
from pangu_alpha.training.result import StepResult
from pangu_alpha.training.scalars import Limits

_VALUES = ("loss", "grad_norm")


@dataclass(frozen=True)
class Spike:
    """One value of a step that is one."""

    name: str
    """`loss` or `grad_norm`."""
    value: float
    mean: float
    """Of the steps before."""


class SpikeDetector:
    """Remembers the last steps. All ranks have the same numbers, and so the same spikes."""

    def __init__(self, config: SpikeConfig) -> None:
        self.config = config
        self.num_skipped = 0
        """Steps in a row that were skipped as spikes."""
        self._recent: dict[str, deque[float]] = {name: deque(maxlen=config.window) for name in _VALUES}

    @property
    def limits(self) -> Limits:
        """What the next step may reach; nothing is too large before a whole window of steps is known."""
        return Limits(*(self._limit(recent) for recent in self._recent.values()))

    def take(self, result: StepResult) -> list[Spike]:
        """The spikes of a step, which is compared with later ones unless it changed nothing."""
        limits = dict(zip(_VALUES, (self.limits.loss, self.limits.grad_norm), strict=True))
        found = [
            Spike(name, value, statistics.fmean(self._recent[name]))
            for name, limit in limits.items()
            if math.isfinite(limit) and not (value := getattr(result, name)) <= limit
        ]
        if result.skipped:
            # One whose gradients overflowed says nothing of spikes.
            self.num_skipped += result.is_spike
            return found if result.is_spike else []
        self.num_skipped = 0
        for name, recent in self._recent.items():
            recent.append(getattr(result, name))
        return found

    @property
    def is_hopeless(self) -> bool:
        """Whether so many steps in a row were skipped that nothing is learnt any more."""
        return self.num_skipped >= self.config.max_skips

    def state(self) -> dict[str, Any]:
        """What goes on after a resume."""
        return {"num_skipped": self.num_skipped, **{name: list(recent) for name, recent in self._recent.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.num_skipped = state["num_skipped"]
        for name, recent in self._recent.items():
            recent.clear()
            recent.extend(state[name])

    def _limit(self, recent: deque[float]) -> float:
        if len(recent) < self.config.window:
            return math.inf
        limit = statistics.fmean(recent) + self.config.sigmas * statistics.pstdev(recent)
        return float(np.float32(limit))  # as the device has it
