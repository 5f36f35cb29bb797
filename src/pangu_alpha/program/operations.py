"""How many operations a rank's exported program makes in its matrix products: each node, as often as a step runs it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pangu_alpha.errors import ProgramError
from pangu_alpha.program.graph import Node, Program, TensorType, ValueType
from pangu_alpha.program.traffic import executions

PRODUCTS = frozenset({"BatchMatMul", "MatMul"})
"""Primitives that multiply matrices; everything else moves more bytes than it computes."""


def product_flops(program: Program) -> int:
    """Operations of all matrix products in one step: a multiplication and an addition for each term of each sum.

    Raises:
        ProgramError: the shape of a product's input is not recorded.
    """
    counts = executions(program)
    types = _types(program)
    return sum(
        counts[node.output] * node_flops(node, types, program.constants)
        for node in program.nodes()
        if node.primitive in PRODUCTS and counts[node.output]
    )


def node_flops(node: Node, types: Mapping[str, ValueType], constants: Mapping[str, Any]) -> int:
    """Operations of one product: 2 for each element of the result and each term of its sum.

    Args:
        node: a matrix product; its third input says whether its first one is transposed.
        types: of its first input, by the name of the value.
        constants: by the name of the value.

    Raises:
        ProgramError: the shapes or the transposition are not recorded.
    """
    first, result = types.get(node.inputs[0]), node.output_type
    transposed = constants.get(node.inputs[2]) if len(node.inputs) > 2 else None
    if not isinstance(first, TensorType) or not isinstance(result, TensorType) or not isinstance(transposed, bool):
        raise ProgramError(f"{node}: the program does not say what this product sums over; compile it again")
    return 2 * math.prod(result.shape) * first.shape[-2 if transposed else -1]


def _types(program: Program) -> dict[str, ValueType]:
    types: dict[str, ValueType] = {node.output: node.output_type for node in program.nodes()}
    for graph in program.graphs.values():
        types.update(zip(graph.inputs, graph.input_types, strict=True))
    return types
