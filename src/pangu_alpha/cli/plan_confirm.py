"""`pangu plan --confirm`: MindSpore compiles the stages of a layout, and the account is held against its programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pangu_alpha.console import si
from pangu_alpha.errors import CompileError, ConfigError
from pangu_alpha.planner.communication import Message, all_messages
from pangu_alpha.planner.memory import stage_states
from pangu_alpha.planner.operators import step_flops
from pangu_alpha.planner.peak import stage_peaks

if TYPE_CHECKING:
    from pangu_alpha.config import RunConfig
    from pangu_alpha.program.traffic import Collective

TOO_LOW, TOO_HIGH = 0.02, 0.05
"""Shares of MindSpore's peak by which the planned one may be below and above it."""
ROUNDING = 16 << 20
"""Bytes by which it may be so in any case: MindSpore rounds each allocation up, and a small network's are small."""
Traffic = Counter[tuple[str, str, tuple[str, ...], str]]
"""By phase, kind and axes: `bytes` and `messages` of a step."""


@dataclass(frozen=True)
class Confirmed:
    """One stage as it was planned and as it was compiled."""

    stage: int
    planned_bytes: int
    """Of a device's memory at its fullest."""
    found_bytes: int
    planned_flops: int
    """Of a device's products in a step."""
    found_flops: int
    planned_traffic: Traffic
    found_traffic: Traffic

    @property
    def memory_error(self) -> float:
        """By how much of MindSpore's peak the planned one is too high."""
        return self.planned_bytes / self.found_bytes - 1

    def problems(self) -> list[str]:
        """Where the account is wrong."""
        found = []
        if self.planned_flops != self.found_flops:
            found.append(f"{self.planned_flops:,} operations were planned, the program has {self.found_flops:,}")
        for key in sorted(self.planned_traffic.keys() | self.found_traffic.keys()):
            if self.planned_traffic[key] != self.found_traffic[key]:
                phase, kind, axes, unit = key
                found.append(
                    f"{self.planned_traffic[key]:,} {unit} of {kind} over {' × '.join(axes)} in the {phase} part were "
                    f"planned, the program has {self.found_traffic[key]:,}"
                )
        is_close = abs(self.planned_bytes - self.found_bytes) <= ROUNDING
        if not is_close and not -TOO_LOW <= self.memory_error <= TOO_HIGH:
            planned, compiled = (size / 2**30 for size in (self.planned_bytes, self.found_bytes))
            found.append(
                f"{planned:.2f} GiB of memory were planned, MindSpore plans {compiled:.2f}: {self.memory_error:+.1%}, "
                f"and -{TOO_LOW:.0%} to +{TOO_HIGH:.0%} is good"
            )
        return [f"stage {self.stage}: {problem}" for problem in found]


def confirm(config: RunConfig) -> None:
    """Compile a rank of each stage, print the account beside what the programs have, and refuse a wrong one.

    Raises:
        ConfigError: there is one rank.
        CompileError: the account is wrong, or MindSpore refuses a program.
    """
    from pangu_alpha.compiler.programs import compile_ranks, stage_ranks
    from pangu_alpha.program.graph import read_program
    from pangu_alpha.program.operations import product_flops
    from pangu_alpha.program.traffic import collectives
    from pangu_alpha.topology.mesh import Mesh

    mesh, states, peaks = Mesh.of(config.parallel), stage_states(config), stage_peaks(config)
    if mesh.num_ranks == 1:
        raise ConfigError(
            "--confirm: this layout has one rank, which trains with another program than the ranks of a job; leave "
            "--confirm out"
        )
    flops = step_flops(config, states)
    compiled = compile_ranks(config, stage_ranks(mesh), level=1)
    print("\nheld against MindSpore's programs")
    print(
        f"  {'stage':>5} {'memory':>10} {'MindSpore':>10} {'error':>6} {'operations':>10} {'program':>8} {'bytes':>8} "
        f"{'program':>8}"
    )
    problems = []
    for one in compiled:
        stage, program = mesh.place(one.rank).stage, read_program(one.program)
        found = Confirmed(
            stage,
            peaks[stage].num_bytes,
            one.measured.device_memory or 0,
            flops[stage],
            product_flops(program),
            _traffic(all_messages(config, states[stage], stage)),
            _traffic(collectives(program, mesh, one.rank)),
        )
        print(_line(found))
        problems += found.problems()
    if problems:
        raise CompileError("the account of this layout is wrong:\n  " + "\n  ".join(problems))
    print("  operations, and bytes and number of each kind of collective, are equal")


def _traffic(items: Iterable[Message | Collective]) -> Traffic:
    sums: Traffic = Counter()
    for item in items:
        times = 1 if isinstance(item, Message) else item.count
        sums[item.phase, item.kind, item.axes or (), "bytes"] += times * item.num_bytes
        sums[item.phase, item.kind, item.axes or (), "messages"] += item.count
    return +sums


def _line(found: Confirmed) -> str:
    sent = [
        sum(number for key, number in traffic.items() if key[3] == "bytes")
        for traffic in (found.planned_traffic, found.found_traffic)
    ]
    return (
        f"  {found.stage:>5} {found.planned_bytes / 2**30:>6.2f} GiB {found.found_bytes / 2**30:>6.2f} GiB "
        f"{found.memory_error:>+6.1%} {si(found.planned_flops):>10} {si(found.found_flops):>8} "
        f"{si(sent[0]):>8} {si(sent[1]):>8}"
    )
