"""Mistakes planted in the compiled programs of dp 2 × mp 2 × pp 2 with a sharded optimizer, and what must report them.

Ranks 0 to 3 are the first stage with layers 0 and 1, ranks 4 to 7 the second; of each four, the first two are the
slices of replica 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pangu_alpha.emulator.program import Node, Program

Change = Callable[[Node], Sequence[Node]]
"""A node → what stands in its place."""
FIRST_STAGE, LAST_STAGE = range(4), range(4, 8)


@dataclass(frozen=True)
class Mutation:
    """One mistake."""

    plant: Callable[[Program], Program]
    """Raises ValueError when there is no place for it."""
    ranks: Sequence[int]
    """Whose programs have it."""
    symptom: str
    """A regular expression that the complaints must match: which comparison, which tensor or rank."""


def edited(chosen: Callable[[Node], bool], change: Change, **constants: Any) -> Callable[[Program], Program]:
    """Replaces the chosen nodes; `constants` are values that `change` may name."""

    def plant(program: Program) -> Program:
        if not any(map(chosen, program.nodes())):
            raise ValueError(f"no node of {program.path} is the one to damage")
        graphs = {
            name: replace(
                graph, nodes=tuple(new for node in graph.nodes for new in (change(node) if chosen(node) else [node]))
            )
            for name, graph in program.graphs.items()
        }
        return replace(
            program, graphs=graphs, main=graphs[program.main.name], constants={**program.constants, **constants}
        )

    return plant
