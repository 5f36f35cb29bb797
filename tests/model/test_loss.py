"""Cross-entropy of each token against float64."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import Tensor, ops

from pangu_alpha.model.loss import TokenLoss


@pytest.fixture
def labels() -> np.ndarray:
    """int32 [2, 4]."""
    return np.array([[0, 5, 49, 7], [7, 8, 9, 10]], np.int32)


@pytest.mark.parametrize("size", [1.0, 30.0, 1e4])
def test_is_the_negative_log_probability(labels: np.ndarray, size: float) -> None:
    """At size 10,000 exp overflows without the maximum taken out, and log(softmax) is -inf."""
    logits = np.random.default_rng(1).normal(0, size, (8, 50)).astype(np.float32)
    exact = logits.astype(np.float64)
    log_sum = np.log(np.exp(exact - exact.max(1, keepdims=True)).sum(1)) + exact.max(1)
    expected = log_sum - exact[np.arange(8), labels.reshape(-1)]
    losses = TokenLoss()(Tensor(logits), Tensor(labels)).asnumpy()
    assert losses.shape == (8,) and losses.dtype == np.float32
    np.testing.assert_allclose(losses, expected, rtol=2e-6, atol=2e-6)


def test_float16_logits_are_summed_in_float32(labels: np.ndarray) -> None:
    """The log of 40,000 equal terms; float16 would stop counting at 2048."""
    losses = TokenLoss()(Tensor(np.zeros((8, 40000), np.float16)), Tensor(labels)).asnumpy()
    np.testing.assert_allclose(losses, np.log(40000), rtol=1e-6)


def test_gradient_is_softmax_minus_one_hot(labels: np.ndarray) -> None:
    logits = np.random.default_rng(2).normal(0, 3, (8, 50)).astype(np.float32)
    gradient = ops.GradOperation()(TokenLoss())(Tensor(logits), Tensor(labels)).asnumpy()
    exact = np.exp(logits.astype(np.float64))
    expected = exact / exact.sum(1, keepdims=True)
    expected[np.arange(8), labels.reshape(-1)] -= 1
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-6)
    assert gradient.dtype == np.float32
