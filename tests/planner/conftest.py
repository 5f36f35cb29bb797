"""What MindSpore's compiler has shown of many layouts, kept, so that the planner is held against it without compiling.

`measured.json` has the peaks of the 40 layouts of `benchmarks/plan_memory.py` and of those in other types, those of
single stages where these have not their fullest (many micro-batches, all stages of the shipped fast recipes) and, of
eight small layouts of `pangu verify`, operations and traffic as they were counted in the programs. `test_compiled.py`
compiles a few anew.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.config import RunConfig
from pangu_alpha.planner import communication, memory, operators, peak


@lru_cache
def measured() -> Any:
    return json.loads(Path(__file__).with_name("measured.json").read_text(encoding="utf-8"))


class Account:
    """The planner's account, held against what was measured: a word for each kind of difference."""

    def __init__(self) -> None:
        self.memory, self.types, self.stages, self.programs = (
            [(RunConfig.model_validate(item["settings"]), item["stages"]) for item in measured()[name]]
            for name in ("memory", "types", "stages", "programs")
        )

    def differences(self) -> set[str]:
        found = set()
        for config, stages in self.programs:
            states = memory.stage_states(config)
            flops = operators.step_flops(config, states)
            for stage, seen in ((int(stage), seen) for stage, seen in stages.items()):
                found |= {"operations"} if flops[stage] != seen["flops"] else set()
                found |= self._traffic(config, states[stage], stage, seen["traffic"])
        errors = self.memory_errors()
        found |= {"memory"} if not -0.02 <= min(errors) <= max(errors) <= 0.05 else set()
        stages = self.stage_errors()
        found |= {"stages"} if not -0.02 <= min(stages) <= max(stages) <= 0.05 else set()
        types = self.type_errors()
        found |= {"types"} if not -0.03 <= min(types) <= max(types) <= 0.05 else set()
        return found

    def _traffic(self, config: RunConfig, state: memory.StageState, stage: int, seen: list[Any]) -> set[str]:
        planned: Counter[Any] = Counter()
        for message in communication.all_messages(config, state, stage):
            planned[message.phase, message.kind, message.axes, "bytes"] += message.num_bytes
            planned[message.phase, message.kind, message.axes, "count"] += message.count
        expected: Counter[Any] = Counter()
        for phase, kind, axes, num_bytes, count in seen:
            expected[phase, kind, tuple(axes), "bytes"] = num_bytes
            expected[phase, kind, tuple(axes), "count"] = count
        return {key[3] for key in planned.keys() | expected.keys() if planned[key] != expected[key]}

    def memory_errors(self) -> list[float]:
        """Of each layout's fullest stage, of those that were compiled."""
        return [self._memory_error(*item) for item in self.memory]

    def type_errors(self) -> list[float]:
        """The same of the layouts in other types."""
        return [self._memory_error(*item) for item in self.types]

    def stage_errors(self) -> list[float]:
        """Of every stage that was compiled for itself, and of those of all layouts that are not the fullest."""
        return [
            peak.stage_peaks(config)[int(stage)].num_bytes / found - 1
            for config, stages in (*self.stages, *self.memory)
            for stage, found in stages.items()
        ]

    def _memory_error(self, config: RunConfig, stages: dict[str, int]) -> float:
        peaks = peak.stage_peaks(config)
        planned = max(peaks[int(stage)].num_bytes for stage in stages)
        return planned / max(stages.values()) - 1


@pytest.fixture(scope="session")
def against_measured() -> Account:
    return Account()
