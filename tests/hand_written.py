"""Programs written by hand: what MindSpore's compiler would have to write for a few nodes on a few ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pangu_alpha.program.graph import Graph, Node, Program, TensorType, ValueType

WrittenNode = tuple[str, str, Sequence[str], dict[str, Any]]
"""Output, primitive, inputs, attributes."""


@pytest.fixture
def write_program() -> Callable[..., Program]:
    def write(
        nodes: Sequence[WrittenNode],
        types: Mapping[str, ValueType],
        inputs: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
        constants: Mapping[str, Any] | None = None,
        output: str = "",
    ) -> Program:
        """`types` has the type of each input and of each node's output; the last node is the output unless named."""
        values = {name: np.asarray(value, np.float32) for name, value in (parameters or {}).items()}
        kinds = {name: TensorType(value.shape, value.dtype) for name, value in values.items()}
        names = (*values, *inputs)
        made = [
            Node(primitive, f"Default/{name}-{primitive}", tuple(sources), name, attributes, types.get(name))
            for name, primitive, sources, attributes in nodes
        ]
        main = Graph(
            "main",
            names,
            tuple(kinds.get(name) or types[name] for name in names),
            (output or nodes[-1][0],),
            tuple(made),
        )
        own = {name: name for name in values}
        return Program(Path("hand.mindir"), main, {"main": main}, constants or {}, kinds, values, own)

    return write
