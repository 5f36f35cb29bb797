from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mindspore import Tensor, ops

EPSILON = 1e-5


def _inputs() -> Any:
    rng = np.random.default_rng(5)
    return rng.normal(2, 3, size=(4, 6)), rng.normal(1, 0.2, 6), rng.normal(size=6), rng.normal(size=(4, 6))


def test_layer_norm(run_kernel: Callable[..., Any]) -> None:
    x, gamma, beta, _ = (value.astype(np.float32) for value in _inputs())
    expected = ops.LayerNorm(1, 1, EPSILON)(Tensor(x), Tensor(gamma), Tensor(beta))
    for result, reference in zip(run_kernel("LayerNorm", x, gamma, beta, 1, 1, EPSILON), expected, strict=True):
        np.testing.assert_allclose(result, reference.asnumpy().reshape(result.shape), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_layer_norm_gradient(run_kernel: Callable[..., Any], numeric_gradient: Callable[..., Any], which: int) -> None:
    *inputs, dy = _inputs()

    def forward(changed: Any) -> Any:
        return run_kernel("LayerNorm", *inputs[:which], changed, *inputs[which + 1 :], 1, 1, EPSILON)[0]

    _, mean, variance = run_kernel("LayerNorm", *inputs, 1, 1, EPSILON)
    gradients = run_kernel("LayerNormGrad", inputs[0], dy, variance, mean, inputs[1], 1, 1, epsilon=EPSILON)
    expected = numeric_gradient(forward, inputs[which], dy)
    np.testing.assert_allclose(gradients[which], expected, rtol=1e-6, atol=1e-8)


def test_softmax(run_kernel: Callable[..., Any]) -> None:
    x = np.random.default_rng(6).normal(0, 30, size=(3, 5)).astype(np.float32)
    for axis in (-1, 0, (1,)):
        expected = ops.Softmax(axis)(Tensor(x)).asnumpy()
        np.testing.assert_allclose(run_kernel("Softmax", x, axis), expected, rtol=1e-5, atol=1e-9)


def test_softmax_does_not_overflow_and_gives_masked_scores_no_weight(run_kernel: Callable[..., Any]) -> None:
    assert run_kernel("Softmax", np.array([[3e38, -1e9, 3e38]], np.float32), -1).tolist() == [[0.5, 0.0, 0.5]]


def test_softmax_gradient(run_kernel: Callable[..., Any], numeric_gradient: Callable[..., Any]) -> None:
    rng = np.random.default_rng(7)
    x, dy = rng.normal(size=(3, 5)), rng.normal(size=(3, 5))
    expected = numeric_gradient(lambda x: run_kernel("Softmax", x, -1), x, dy)
    result = run_kernel("SoftmaxBackward", dy, run_kernel("Softmax", x, -1), -1)
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-9)
