"""Executes a layout's programs and compares them with the single-device network, in three ways.

First their collectives are held against those that the sharding table implies: where MindSpore has made up for a wrong
row of the table with communication, the numbers are right all the same.

1. float64: the float16 programs, with which ranks train, and that of one rank, both in the same interpreter and with
   nothing rounded: loss and every gradient within 1e-12, every tensor's total update within 1e-10. This is the proof:
   nothing but the order of additions differs.
2. float32, of some layouts (`Case.compute_dtypes`), against MindSpore's own CPU kernels: loss within 2e-6, every
   parameter's gradient norm within 1e-5. This anchors what the primitives mean.
3. float16, rounded, with the dynamic loss scale against MindSpore's CPU kernels: the same steps skipped, losses within
   1e-3; and an overflow planted on one rank alone skips the step on all and changes nothing.

The programs of validation are compared in all three, with dropout left out on both sides; they must leave all
tensors as they were.

The bias of the keys is left out where gradients and updates are compared: softmax does not see it, its true gradient is
0, and Adam makes its rounding as large as any other update. Every other tensor must have a gradient that is not 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.compiler.programs import compile_ranks
from pangu_alpha.config import RunConfig
from pangu_alpha.emulator.dtypes import Precision
from pangu_alpha.emulator.step import EmulatedStep, emulated_loss, emulated_step
from pangu_alpha.errors import CompileError, LayoutError, ProgramError
from pangu_alpha.parallel.implied import implied_collectives
from pangu_alpha.parallel.parameters import row_of
from pangu_alpha.program.coverage import differing_parts
from pangu_alpha.program.graph import read_program
from pangu_alpha.program.report import compare
from pangu_alpha.program.traffic import collectives
from pangu_alpha.runtime.device import set_device
from pangu_alpha.topology.mesh import Mesh
from pangu_alpha.training.backend import reader
from pangu_alpha.training.result import StepResult
from pangu_alpha.training.scalars import update_scalars
from pangu_alpha.verification.cases import Case, ComputeDtype, batches
from pangu_alpha.verification.reference import Tensors, anchor, exact, run, start

LOSS_EXACT, GRADIENT_EXACT, UPDATE_EXACT = 1e-12, 1e-12, 1e-10
LOSS_SINGLE, NORM_SINGLE = 2e-6, 1e-5
LOSS_HALF = 1e-3


@dataclass(frozen=True)
class Difference:
    """The largest relative difference of one comparison."""

    what: str
    value: float
    limit: float
    where: str = ""
    """The tensor or the step that differs most."""

    @property
    def is_good(self) -> bool:
        """Within the limit; not a number is not."""
        return self.value <= self.limit

    def __str__(self) -> str:
        if self.limit == 0:  # a number of things that should not be
            return f"{self.what}: {self.value:.0f}" + (f", {self.where}" if self.where else "")
        place = f" at {self.where}" if self.where else ""
        return f"{self.what} differs by {self.value:.1e}{place}, the limit is {self.limit:.0e}"


@dataclass(frozen=True)
class Verdict:
    """What came of one layout."""

    case: str
    differences: list[Difference] = field(default_factory=list)
    failure: str | None = None
    """Why it could not be executed at all."""

    @property
    def is_good(self) -> bool:
        """All within their limits."""
        return self.failure is None and all(difference.is_good for difference in self.differences)

    def complaints(self) -> list[str]:
        """What is wrong, a line each."""
        wrong = [str(difference) for difference in self.differences if not difference.is_good]
        return [self.failure, *wrong] if self.failure else wrong


def compile_programs(case: Case, num_jobs: int | None = None) -> None:
    """Compile what `verify` executes; see `compile_ranks`."""
    for dtype in case.compute_dtypes:
        for config in (case.config(dtype), case.reference(dtype)):
            ranks = range(config.parallel.num_devices)
            compile_ranks(config, ranks, with_validation=case.has_validation, num_jobs=num_jobs)


def verify(case: Case, num_jobs: int | None = None) -> Verdict:
    """Compile and execute all ranks of `case` and compare."""
    set_device("cpu", fuse_operators=False)
    try:
        compile_programs(case, num_jobs)
        half, reference = case.config("float16"), case.reference("float16")
        differences = [
            *compare_with_tables(half, num_jobs),
            *compare_exactly(emulated_step(half, "float64", num_jobs), half, reference),
            *(_compare_single(case, num_jobs) if "float32" in case.compute_dtypes else ()),
            *compare_in_half(emulated_step(half, "native", num_jobs), half, reference),
            *(compare_validation(case, num_jobs) if case.has_validation else ()),
        ]
    except (CompileError, ProgramError, LayoutError) as error:
        return Verdict(str(case), failure=str(error))
    return Verdict(str(case), differences)


def compare_with_tables(config: RunConfig, num_jobs: int | None = None) -> list[Difference]:
    """How many collectives of the programs the sharding table does not imply, or are missing, and how many of the parts
    that MindSpore gives the ranks are not those of the table of parameters."""
    mesh = Mesh.of(config.parallel)
    problems, differing = [], []
    for one in compile_ranks(config, range(mesh.num_ranks), num_jobs=num_jobs):
        program = read_program(one.program)
        implied = implied_collectives(config, mesh.place(one.rank).stage)
        problems += [f"rank {one.rank}: {line}" for line in compare(collectives(program, mesh, one.rank), implied)]
        differing += differing_parts(one.rank, program, one.layout, config.model, config.parallel)
    return [
        Difference("collectives against the table", len(problems), 0, "\n".join(problems[:3])),
        Difference("parts against the table", len(differing), 0, "\n".join(differing[:3])),
    ]


def compare_exactly(step: EmulatedStep, config: RunConfig, reference: RunConfig) -> list[Difference]:
    """Comparison 1; `step` computes in float64."""
    wanted = exact(reference)
    begin = start(config.model, config.train.seed)
    step.load(reader(begin))
    gradients: Tensors = {}
    results = run(step, config, lambda: gradients.update(step.gradients()))
    step.require_equal_copies()
    return [
        _steps("float64 loss", "loss", results, wanted.results, LOSS_EXACT),
        _steps("float64 gradient norm", "grad_norm", results, wanted.results, LOSS_EXACT),
        _without_gradient(gradients, wanted.gradients),
        _worst("float64 gradient", gradients, wanted.gradients, None, GRADIENT_EXACT),
        _worst("float64 update", step.tensors(list(begin)), wanted.tensors, begin, UPDATE_EXACT),
    ]


def compare_with_kernels(step: EmulatedStep, config: RunConfig, reference: RunConfig) -> list[Difference]:
    """Comparison 2; `step` computes in float32."""
    wanted = anchor(reference)
    step.load(reader(start(config.model, config.train.seed)))
    gradients: Tensors = {}
    results = run(step, config, lambda: gradients.update(step.gradients()))
    norm = results[0].grad_norm
    clip = min(config.optimizer.clip_norm / norm, 1.0) if norm else math.nan
    norms = {name: size for name, size in wanted.gradient_norms.items() if row_of(name).has_gradient}
    errors = [_relative(float(np.linalg.norm(gradients[name]) / clip), size) for name, size in norms.items()]
    return [
        _steps("float32 loss", "loss", results, wanted.results, LOSS_SINGLE),
        _largest("float32 gradient's size", errors, NORM_SINGLE, list(norms)),
    ]


def _compare_single(case: Case, num_jobs: int | None) -> list[Difference]:
    config = case.config("float32")
    return compare_with_kernels(emulated_step(config, "native", num_jobs), config, case.reference("float32"))


def compare_in_half(step: EmulatedStep, config: RunConfig, reference: RunConfig) -> list[Difference]:
    """Comparison 3; `step` computes in float16."""
    wanted = anchor(reference)
    step.load(reader(start(config.model, config.train.seed)))
    results = run(step, config)
    skipped = [
        number
        for number, (ours, theirs) in enumerate(zip(results, wanted.results, strict=True))
        if ours.skipped != theirs.skipped
    ]
    if len({result.skipped for result in wanted.results}) < 2:  # none or all: nothing is compared
        skipped = list(range(len(results)))
    return [
        _steps("float16 loss", "loss", results, wanted.results, LOSS_HALF),
        Difference("float16 skipped steps", len(skipped), 0, f"steps {skipped}" if skipped else ""),
        *_overflow_on_one_rank(step, config),
    ]


def compare_validation(case: Case, num_jobs: int | None = None) -> list[Difference]:
    """The programs of validation against that of one rank."""
    found = []
    comparisons: list[tuple[str, ComputeDtype, Precision, float]] = [
        ("float64", "float16", "float64", LOSS_EXACT),
        ("float32", "float32", "native", LOSS_SINGLE),
        ("float16", "float16", "native", LOSS_HALF),
    ]
    for what, dtype, precision, limit in comparisons:
        if dtype not in case.compute_dtypes:
            continue
        config = case.config(dtype)
        batch = batches(config.train.batch_size)[0]
        ours, theirs = (emulated_loss(one, precision, num_jobs) for one in (config, case.reference(dtype)))
        for loss in (ours, theirs):
            loss.load(reader(start(config.model, config.train.seed)))
        before = ours.tensors()
        found.append(_largest(f"{what} validation loss", [_relative(ours(batch), theirs(batch))], limit, ["batch 0"]))
        moved = [name for name, value in ours.tensors().items() if not np.array_equal(value, before[name])]
        found.append(Difference(f"tensors moved by {what} validation", len(moved), 0, moved[0] if moved else ""))
    return found


def _overflow_on_one_rank(step: EmulatedStep, config: RunConfig) -> list[Difference]:
    before = {name: value.copy() for name, value in step.tensors().items()}
    rank = step.machine.plant_overflow()
    if rank is None:
        return []
    batch = batches(config.train.batch_size)[0]
    scalars = update_scalars(config.optimizer, 1e-2, 1)
    result = step(batch, int(batch.loss_mask.sum()), scalars, loss_scale=1.0)
    moved = [name for name, value in step.tensors().items() if not np.array_equal(value, before[name])]
    where = f"rank {rank} overflowed alone; " + (f"{moved[0]} moved" if moved else "the step was not skipped")
    num_wrong = len(moved) + (not result.skipped)
    return [Difference("tensors moved by an overflow", num_wrong, 0, where if num_wrong else "")]


def _without_gradient(ours: Tensors, theirs: Tensors) -> Difference:
    """How many tensors have the gradient 0, or none, on either side: two networks that do not learn would agree."""
    names = sorted(name for name in {*ours, *theirs} if row_of(name).has_gradient)
    still = [name for name in names if not all(np.any(side.get(name, 0.0)) for side in (ours, theirs))]
    return Difference("tensors without gradient", len(still) if names else 1, 0, still[0] if still else "")


def _steps(what: str, field_name: str, ours: list[StepResult], theirs: list[StepResult], limit: float) -> Difference:
    pairs = [(getattr(our, field_name), getattr(their, field_name)) for our, their in zip(ours, theirs, strict=True)]
    steps = [f"step {number}" for number in range(len(pairs))]
    return _largest(what, [_relative(our, their) for our, their in pairs], limit, steps)


def _relative(our: float, their: float) -> float:
    """How far a number is from the one it should be; never good, and never an error, when that one is 0 or infinite."""
    return float(abs(np.divide(our, their) - 1.0)) if their and math.isfinite(their) else math.nan


def _largest(what: str, values: Sequence[float], limit: float, places: Sequence[str]) -> Difference:
    number = int(np.argmax(values))  # a NaN counts as the largest
    return Difference(what, values[number], limit, places[number])


def _worst(
    what: str,
    ours: Mapping[str, NDArray[np.floating]],
    theirs: Mapping[str, NDArray[np.floating]],
    begin: Mapping[str, NDArray[np.floating]] | None,
    limit: float,
) -> Difference:
    """The tensor that differs most, relative to its size (or to how far it has moved from `begin`)."""
    if ours.keys() != theirs.keys():
        odd = sorted(ours.keys() ^ theirs.keys())
        return Difference(f"{what}: the set of tensors", float(len(odd)), 0, odd[0])
    values, names = [], []
    for name, their in theirs.items():
        if not row_of(name).has_gradient:
            continue
        size = float(np.linalg.norm(their - (0.0 if begin is None else begin[name])))
        values.append(float(np.linalg.norm(ours[name] - their)) / size if size else math.nan)
        names.append(name)
    return _largest(what, values, limit, names)
