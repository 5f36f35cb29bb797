"""The comparisons of `pangu verify` must be able to fail: each planted mistake turns them red, with a word on where."""

from __future__ import annotations

import os
import re
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.compiler.programs import compile_ranks
from pangu_alpha.compiler.standin import build_standin
from pangu_alpha.config import ParallelConfig, RunConfig
from pangu_alpha.emulator.dtypes import Precision
from pangu_alpha.emulator.machine import Layout, Machine
from pangu_alpha.emulator.step import EmulatedStep
from pangu_alpha.errors import EmulatorError, LayoutError
from pangu_alpha.parallel.parameters import tensor_names
from pangu_alpha.program.graph import Program, read_program
from pangu_alpha.training.backend import Read, reader
from pangu_alpha.verification.cases import Case, quick_cases
from pangu_alpha.verification.parity import (
    Difference,
    Verdict,
    compare_exactly,
    compare_in_half,
    compare_with_tables,
)
from pangu_alpha.verification.reference import start

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
    return compiled(3, "float16")


def complaints(step: EmulatedStep, config: RunConfig, reference: RunConfig, compare: Compare = compare_exactly) -> str:
    """What `verify` would report."""
    try:
        return "\n".join(Verdict("", compare(step, config, reference)).complaints())
    except (EmulatorError, LayoutError) as error:
        return str(error)


def test_the_undamaged_programs_are_green(eight_ranks: Compiled) -> None:
    step = eight_ranks.step(eight_ranks.programs)
    assert complaints(step, eight_ranks.config, eight_ranks.reference) == ""


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_planted_mistake_is_reported(mutation: Any, eight_ranks: Compiled) -> None:
    step = eight_ranks.step(mutation.planted(eight_ranks.programs))
    found = complaints(step, eight_ranks.config, eight_ranks.reference)
    assert re.search(mutation.symptom, found), found or "nothing is reported"


def test_the_final_norm_on_the_other_side_of_the_query_layer(eight_ranks: Compiled) -> None:
    config, other = eight_ranks.config, quick_cases()[0].reference("float16")
    assert other.model.final_norm != config.model.final_norm
    found = complaints(eight_ranks.step(eight_ranks.programs), config, other)
    assert "float64 loss differs" in found
    assert re.search(r"float64 gradient differs by .* at (query_layer|final_norm)\.", found), found


def test_one_rank_starts_from_another_seed(eight_ranks: Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    step, config = eight_ranks.step(eight_ranks.programs), eight_ranks.config
    load, parameters = step.load, step.machine._ranks[3].parameters

    def load_rank_3_from_another_seed(read: Read) -> None:
        load(reader(start(config.model, config.train.seed + 1)))
        others = {name: parameters[name].value for name in tensor_names(config.model) if name in parameters}
        load(read)
        for name, value in others.items():
            parameters[name].write(value)

    monkeypatch.setattr(step, "load", load_rank_3_from_another_seed)
    assert re.search(r"is not the same on ranks \d and 3", complaints(step, config, eight_ranks.reference))


def test_an_overflow_that_the_ranks_do_not_share() -> None:
    """Each rank decides by the gradients of its own whether to skip, and reports the norm of all."""
    four_ranks = compiled(0, "float16")
    mutants = {rank: HELPERS["decide_alone"](program) for rank, program in four_ranks.programs.items()}
    found = [
        complaints(
            four_ranks.step(programs, "native"), four_ranks.config, four_ranks.reference, compare=compare_in_half
        )
        for programs in (four_ranks.programs, mutants)
    ]
    assert found[0] == ""
    assert re.search(r"is not the same on ranks|tensors moved by an overflow: \d+, rank 3 overflowed alone", found[1])


WRONG_ROW = """
import pangu_alpha.parallel.table as table
right = table.sharding_table
gelu = {"layer.feed_forward.gelu.gelu": table.PrimitiveRow((("dp", None),))}
table.sharding_table = lambda sequence_parallel: {**right(sequence_parallel), **gelu}
"""


def test_a_wrong_row_of_the_sharding_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MindSpore makes up for it with communication: the numbers are right, and the collectives are not."""
    (tmp_path / "pangu_alpha").mkdir()
    (tmp_path / "pangu_alpha" / "standin").symlink_to(build_standin().parent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # no wrong program among the kept ones
    (tmp_path / "sitecustomize.py").write_text(WRONG_ROW, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    config = Case(ParallelConfig(mp=2)).config("float16")
    found = "\n".join(map(str, compare_with_tables(config)))
    assert re.search(r"rank 0: \d+ AllGather over mp in the forward part at layer\.feed_forward\S* not implied", found)
