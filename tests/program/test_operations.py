from collections.abc import Callable

import numpy as np
import pytest

from pangu_alpha.errors import ProgramError
from pangu_alpha.program.graph import Program, TensorType
from pangu_alpha.program.operations import product_flops


def kind(*shape: int) -> TensorType:
    return TensorType(shape, np.dtype(np.float16))


def test_a_product_counts_two_for_each_term(write_program: Callable[..., Program]) -> None:
    nodes = [("y", "MatMul", ("x", "w", "no", "no"), {}), ("z", "Add", ("y", "y"), {})]
    types = {"x": kind(4, 6), "w": kind(6, 10), "y": kind(4, 10), "z": kind(4, 10)}
    program = write_program(nodes, types, inputs=("x", "w"), constants={"no": False})
    assert product_flops(program) == 2 * 4 * 6 * 10


def test_a_transposed_input_is_summed_over_its_rows(write_program: Callable[..., Program]) -> None:
    types = {"x": kind(3, 6, 4), "w": kind(3, 6, 10), "y": kind(3, 4, 10)}
    nodes = [("y", "BatchMatMul", ("x", "w", "yes", "no"), {})]
    program = write_program(nodes, types, inputs=("x", "w"), constants={"yes": True, "no": False})
    assert product_flops(program) == 2 * 3 * 4 * 6 * 10


def test_a_product_of_unknown_shape_is_an_error(write_program: Callable[..., Program]) -> None:
    nodes = [("y", "MatMul", ("x", "w", "no", "no"), {})]
    types = {"x": None, "w": kind(6, 10), "y": kind(4, 10)}
    program = write_program(nodes, types, inputs=("x", "w"), constants={"no": False})
    with pytest.raises(ProgramError, match="does not say what this product sums over"):
        product_flops(program)
