from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

ARITHMETIC = ["Add", "Sub", "Mul", "RealDiv", "Div", "FloorDiv", "Maximum", "Minimum"]
COMPARISONS = ["Less", "LessEqual", "Greater", "GreaterEqual", "Equal", "NotEqual"]
UNARY = [
    "Neg",
    "Abs",
    "Exp",
    "Log",
    "Sqrt",
    "Square",
    "Tanh",
    "IsFinite",
    "Reciprocal",
    "Rsqrt",
    "Sigmoid",
    "ReLU",
    "GeLU",
    "Erf",
]
INTEGER = ["Add", "Sub", "Mul", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "RightShift", "Maximum", "Equal"]


def _mindspore(primitive: str, *inputs: Any) -> Any:
    function = ops.bitwise_right_shift if primitive == "RightShift" else getattr(ops, primitive)()
    return function(*map(Tensor, inputs)).asnumpy()


@pytest.mark.parametrize("primitive", ARITHMETIC + COMPARISONS)
def test_binary(run_kernel: Callable[..., Any], primitive: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 1, 5)).astype(np.float32)
    y = rng.normal(size=(4, 5)).astype(np.float32)
    y[0] = x[0, 0]
    np.testing.assert_allclose(run_kernel(primitive, x, y), _mindspore(primitive, x, y), rtol=1e-6)


@pytest.mark.parametrize("primitive", [*UNARY, "GeLU"])
def test_unary(run_kernel: Callable[..., Any], primitive: str) -> None:
    x = np.concatenate([np.geomspace(1e-3, 30, 40), [0.5]]).astype(np.float32)
    if primitive not in ("Log", "Sqrt", "Rsqrt", "Reciprocal"):
        x = np.concatenate([x, -x, [0.0]]).astype(np.float32)
    if primitive == "IsFinite":
        x[:3] = np.inf, -np.inf, np.nan
    # MindSpore's Tanh for the CPU is off by up to 6e-5.
    expected = [math.tanh(value) for value in x] if primitive == "Tanh" else _mindspore(primitive, x)
    np.testing.assert_allclose(run_kernel(primitive, x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("primitive", INTEGER)
def test_integers_wrap_around(run_kernel: Callable[..., Any], primitive: str) -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(-(2**31), 2**31, (4, 5)).astype(np.int32)
    y = rng.integers(1, 31, 5).astype(np.int32) if primitive == "RightShift" else x[:1] | 1
    result = run_kernel(primitive, x, y)
    np.testing.assert_array_equal(result, _mindspore(primitive, x, y))
    assert result.dtype in (np.int32, np.bool_)


def test_product_of_int32_is_modulo_2_to_the_32(run_kernel: Callable[..., Any]) -> None:
    x = np.array([0x7FEB352D, -123456789, 2**31 - 1], np.int32)
    exact = [(int(value) * 0x7FEB352D + 2**31) % 2**32 - 2**31 for value in x]
    assert run_kernel("Mul", x, np.array(0x7FEB352D, np.int32)).tolist() == exact


@pytest.mark.parametrize("primitive", ["LogicalAnd", "LogicalOr"])
def test_logical(run_kernel: Callable[..., Any], primitive: str) -> None:
    x, y = np.array([True, True, False, False]), np.array([True, False, True, False])
    np.testing.assert_array_equal(run_kernel(primitive, x, y), _mindspore(primitive, x, y))
    np.testing.assert_array_equal(run_kernel("LogicalNot", x), _mindspore("LogicalNot", x))


def test_select(run_kernel: Callable[..., Any]) -> None:
    condition, x, y = np.array([[True, False, True]]), np.ones((2, 3)), np.zeros((2, 3))
    assert run_kernel("Select", condition, x, y).tolist() == [[1, 0, 1]] * 2


def test_add_n_and_muls(run_kernel: Callable[..., Any]) -> None:
    terms = tuple(np.full((2, 2), value, np.float32) for value in (1, 10, 100))
    assert run_kernel("AddN", terms).tolist() == [[111, 111]] * 2
    assert run_kernel("Muls", terms[1], 2.5).tolist() == [[25, 25]] * 2


def test_power(run_kernel: Callable[..., Any]) -> None:
    assert run_kernel("PowTensorScalar", np.array([3.0, -2.0]), 2).tolist() == [9.0, 4.0]


def test_gelu_is_the_tanh_form(run_kernel: Callable[..., Any]) -> None:
    for x in (-2.0, 0.3, 1.7):
        expected = 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        assert run_kernel("GeLU", np.array([x]))[0] == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(("backward", "forward"), [("SigmoidGrad", "Sigmoid"), ("RsqrtGrad", "Rsqrt")])
def test_gradient_from_the_result(
    run_kernel: Callable[..., Any], numeric_gradient: Callable[..., Any], backward: str, forward: str
) -> None:
    x, dy = np.linspace(0.3, 4, 7), np.linspace(-1, 2, 7)
    expected = numeric_gradient(lambda x: run_kernel(forward, x), x, dy)
    np.testing.assert_allclose(run_kernel(backward, run_kernel(forward, x), dy), expected, rtol=1e-7, atol=1e-9)


def test_gelu_gradient(run_kernel: Callable[..., Any], numeric_gradient: Callable[..., Any]) -> None:
    x, dy = np.linspace(-4, 4, 9), np.linspace(1, 2, 9)
    expected = numeric_gradient(lambda x: run_kernel("GeLU", x), x, dy)
    np.testing.assert_allclose(run_kernel("GeLUGrad", dy, x, run_kernel("GeLU", x)), expected, rtol=1e-7, atol=1e-9)


def test_cast_and_move_leave_the_value_to_the_interpreter(run_kernel: Callable[..., Any]) -> None:
    x = np.array([1.5], np.float32)
    assert run_kernel("Cast", x, ms.float16) is x
    assert run_kernel("TensorMove", x) is x
