"""The comparisons of `pangu verify` must be able to fail: each planted mistake turns them red, with a word on where."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pangu_alpha.config import RunConfig
from pangu_alpha.emulator.cases import quick_cases
from pangu_alpha.emulator.compiling import compile_ranks
from pangu_alpha.emulator.dtypes import Precision
from pangu_alpha.emulator.machine import Layout, Machine
from pangu_alpha.emulator.parity import Difference, Verdict, compare_exactly, compare_in_half
from pangu_alpha.emulator.program import Program, read_program
from pangu_alpha.emulator.reference import start
from pangu_alpha.emulator.step import EmulatedStep
from pangu_alpha.errors import EmulatorError

HELPERS = runpy.run_path(str(Path(__file__).with_name("mutations.py")), run_name="mutations")
MUTATIONS: list[Any] = HELPERS["MUTATIONS"]
Compare = Callable[[EmulatedStep, RunConfig, RunConfig], list[Difference]]


@dataclass(frozen=True)
class Compiled:
    """A layout's programs, undamaged."""

    config: RunConfig
    reference: RunConfig
    programs: Mapping[int, Program]
    layouts: Mapping[int, Layout]

    def step(self, programs: Mapping[int, Program], precision: Precision = "float64") -> EmulatedStep:
        return EmulatedStep(self.config, Machine(programs, self.layouts, precision=precision))


def compiled(case: int, compute_dtype: Any) -> Compiled:
    config = quick_cases()[case].config(compute_dtype)
    ranks = compile_ranks(config, range(config.parallel.num_devices))
    return Compiled(
        config,
        quick_cases()[case].reference(compute_dtype),
        {one.rank: read_program(one.program) for one in ranks},
        {one.rank: one.layout for one in ranks},
    )


@pytest.fixture(scope="module")
def eight_ranks() -> Compiled:
    return compiled(3, "float32")


def complaints(step: EmulatedStep, config: RunConfig, reference: RunConfig, compare: Compare = compare_exactly) -> str:
    """What `verify` would report."""
    try:
        return "\n".join(Verdict("", compare(step, config, reference)).complaints())
    except EmulatorError as error:
        return str(error)


def test_the_undamaged_programs_are_green(eight_ranks: Compiled) -> None:
    step = eight_ranks.step(eight_ranks.programs)
    assert complaints(step, eight_ranks.config, eight_ranks.reference) == ""


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_planted_mistake_is_reported(mutation: Any, eight_ranks: Compiled) -> None:
    step = eight_ranks.step(mutation.planted(eight_ranks.programs))
    found = complaints(step, eight_ranks.config, eight_ranks.reference)
    assert re.search(mutation.symptom, found), found or "nothing is reported"
