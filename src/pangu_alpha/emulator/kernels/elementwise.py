"""Primitives that act on each element, with broadcasting. Integers wrap around."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from pangu_alpha.emulator.kernels.registry import kernel
from pangu_alpha.program.graph import Array

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Muls": np.multiply,
    "RealDiv": np.divide,
    "Div": np.divide,
    "FloorDiv": np.floor_divide,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
    "Equal": np.equal,
    "NotEqual": np.not_equal,
    "Less": np.less,
    "LessEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterEqual": np.greater_equal,
    "LogicalAnd": np.logical_and,
    "LogicalOr": np.logical_or,
    "LogicalNot": np.logical_not,
    "BitwiseAnd": np.bitwise_and,
    "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
    "RightShift": np.right_shift,
    "Neg": np.negative,
    "Abs": np.absolute,
    "Sqrt": np.sqrt,
    "Square": np.square,
    "Tanh": np.tanh,
    "IsFinite": np.isfinite,
    "Select": np.where,
    "PowTensorScalar": np.power,
}
for _primitive, _function in _FUNCTIONS.items():
    kernel(_primitive)(_function)

_NATURAL = {"base": -1.0, "scale": 1.0, "shift": 0.0}
kernel("Exp", only=_NATURAL)(np.exp)
kernel("Log", only=_NATURAL)(np.log)
kernel("Erf")(special.erf)

_GELU_LINEAR = math.sqrt(2.0 / math.pi)
_GELU_CUBIC = 0.044715


@kernel("Reciprocal")
def reciprocal(x: Array) -> Array:
    """1/x."""
    return 1.0 / x


@kernel("Rsqrt")
def rsqrt(x: Array) -> Array:
    """1/√x."""
    return 1.0 / np.sqrt(x)


@kernel("RsqrtGrad")
def rsqrt_grad(y: Array, dy: Array) -> Array:
    """From the result `y` = 1/√x."""
    return -0.5 * dy * y * y * y


@kernel("Sigmoid")
def sigmoid(x: Array) -> Array:
    """1/(1 + e⁻ˣ), from tanh, which cannot overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


@kernel("SigmoidGrad")
def sigmoid_grad(y: Array, dy: Array) -> Array:
    """From the result `y` = σ(x)."""
    return dy * y * (1.0 - y)


@kernel("ReLU")
def relu(x: Array) -> Array:
    """max(x, 0)."""
    return np.maximum(x, 0)


@kernel("GeLU")
def gelu(x: Array) -> Array:
    """½x(1 + tanh(√(2/π)(x + 0.044715x³))): the primitive is the tanh form."""
    return 0.5 * x * (1.0 + np.tanh(_GELU_LINEAR * (x + _GELU_CUBIC * x * x * x)))


@kernel("GeLUGrad")
def gelu_grad(dy: Array, x: Array, _y: Array) -> Array:
    """dy·GeLU'(x)."""
    tanh = np.tanh(_GELU_LINEAR * (x + _GELU_CUBIC * x * x * x))
    slope = _GELU_LINEAR * (1.0 + 3.0 * _GELU_CUBIC * x * x)
    return dy * (0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * slope)


@kernel("AddN")
def add_n(terms: tuple[Array, ...]) -> Array:
    """The sum of the terms, from left to right."""
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


@kernel("Cast", "TensorMove", moves=True)
def identity(x: Any, _dtype: Any = None) -> Any:
    """The value itself: the interpreter converts it to the recorded type."""
    return x
