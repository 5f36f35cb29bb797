"""What compiling a rank showed: its program's size and state, its collectives beside the implied ones, problems."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pangu_alpha.compiler.programs import CompiledRank, Measured
from pangu_alpha.config import RunConfig
from pangu_alpha.errors import CompileError
from pangu_alpha.parallel.implied import PHASES, Key, implied_collectives
from pangu_alpha.parallel.parameters import parameter_shapes
from pangu_alpha.planner.memory import ways_to_less_memory
from pangu_alpha.program.coverage import Cover, differing_parts, not_held, stage_cover
from pangu_alpha.program.graph import read_program
from pangu_alpha.program.traffic import Collective, axis_name, collectives, num_nodes
from pangu_alpha.topology.mesh import Mesh


@dataclass(frozen=True)
class TrafficRow:
    """Collectives of one kind, in one part of a step."""

    phase: str
    kind: str
    axis: str
    num_found: int
    num_implied: int
    num_bytes: int
    """Bytes of a step, all of them together."""


@dataclass(frozen=True)
class RankReport:
    """One compiled rank."""

    rank: int
    stage: int
    measured: Measured
    num_nodes: int
    """Nodes of the program."""
    num_parameters: int
    """Elements of the network's parameters that the rank holds."""
    state_bytes: int
    """Bytes of all that the program keeps from step to step: weights, moments, sums of gradients."""
    traffic: tuple[TrafficRow, ...]
    covers: Mapping[str, Cover]
    """How the rank's stage holds each of its tensors."""
    problems: tuple[str, ...]
    """Sentences; empty when all is well."""


def report_ranks(config: RunConfig, compiled: Sequence[CompiledRank], device_memory: int) -> list[RankReport]:
    """Read the programs and check them.

    Args:
        device_memory: bytes that a device has.

    Raises:
        ProgramError: a program cannot be read.
    """
    mesh = Mesh.of(config.parallel)
    shapes = parameter_shapes(config.model, mesh.mp)
    return [_report(config, mesh, shapes, one, device_memory) for one in compiled]


def check_held(config: RunConfig, reports: Sequence[RankReport]) -> None:
    """Refuse programs of all stages that leave out a parameter or a moment; of fewer stages nothing can be said.

    Raises:
        CompileError: naming what is missing.
    """
    mesh = Mesh.of(config.parallel)
    if len({report.stage for report in reports}) == mesh.pp:
        missing = not_held([report.covers for report in reports], parameter_shapes(config.model, mesh.mp))
        if missing:
            raise CompileError(f"no stage holds {', '.join(missing[:5])}" + (", …" if missing[5:] else ""))


def _report(
    config: RunConfig, mesh: Mesh, shapes: dict[str, tuple[int, ...]], one: CompiledRank, device_memory: int
) -> RankReport:
    program = read_program(one.program)
    stage = mesh.place(one.rank).stage
    found = collectives(program, mesh, one.rank)
    implied = implied_collectives(config, stage)
    problems = compare(found, implied)
    covers = {}
    try:
        covers = stage_cover(one.rank, program, one.layout, mesh, shapes)
    except CompileError as error:
        problems.append(str(error))
    problems += differing_parts(one.rank, program, one.layout, config.model, config.parallel)
    planned = one.measured.device_memory
    if planned is not None and planned > device_memory:
        problems.append(
            f"MindSpore plans {planned / 2**30:.1f} GiB of device memory, and the device has "
            f"{device_memory / 2**30:.1f}. Ways out, the cheapest first: {ways_to_less_memory(config)}"
        )
    held = program.parameters
    return RankReport(
        one.rank,
        stage,
        one.measured,
        num_nodes(program),
        sum(math.prod(value.shape) for name, value in held.items() if name in shapes),
        sum(math.prod(value.shape) * value.dtype.itemsize for value in held.values()),
        tuple(traffic_rows(found, implied)),
        covers,
        tuple(problems),
    )


def compare(found: Sequence[Collective], implied: Counter[Key]) -> list[str]:
    """Where a program's collectives are not the implied ones: a sentence each, naming the operators."""
    by_key: dict[Key | None, list[Collective]] = defaultdict(list)
    for collective in found:
        by_key[collective.key].append(collective)
    problems = []
    for key in [*by_key, *(key for key in implied if key not in by_key)]:
        nodes = by_key.get(key, [])
        number = sum(node.count for node in nodes)
        expected = implied[key] if key is not None else 0
        if number == expected:
            continue
        words = "not implied by the sharding table" if number > expected else "missing"
        kind, phase, axis = (
            (key[1], key[0], axis_name(key[2]))
            if key is not None
            else (nodes[0].kind, nodes[0].phase, nodes[0].axis_name)
        )
        where = f" at {key[3]}" if key is not None and key[3] else ""
        problems.append(
            f"{abs(number - expected)} {kind} over {axis} in the {phase} part{where} {words} "
            f"({number} in the program, {expected} implied){_operators(nodes)}"
        )
    return problems


def _operators(nodes: Sequence[Collective], limit: int = 4) -> str:
    """The operators that communicate, the rarest first: an accident is rarer than what belongs there."""
    counts = Counter((node.scope, node.num_bytes) for node in nodes)
    rarest = counts.most_common()[::-1]
    lines = [f"\n    {scope}, {num_bytes:,} bytes" for (scope, num_bytes), _ in rarest[:limit]]
    return "".join(lines) + (f"\n    and {len(counts) - limit} more" if len(counts) > limit else "")


def traffic_rows(found: Sequence[Collective], implied: Counter[Key]) -> list[TrafficRow]:
    """The table of a rank's collectives, found and implied, in the order of a step."""
    numbers: Counter[tuple[str, str, str]] = Counter()
    expected: Counter[tuple[str, str, str]] = Counter()
    num_bytes: Counter[tuple[str, str, str]] = Counter()
    for node in found:
        row = (node.phase, node.kind, node.axis_name)
        numbers[row] += node.count
        num_bytes[row] += node.count * node.num_bytes
    for (phase, kind, axes, _), count in implied.items():
        expected[phase, kind, axis_name(axes)] += count
    order = sorted(numbers.keys() | expected.keys(), key=lambda row: (PHASES.index(row[0]), row[1:]))
    return [TrafficRow(*row, numbers[row], expected[row], num_bytes[row]) for row in order]
