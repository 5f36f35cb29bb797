"""Cross-entropy against float64."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import Tensor, ops

from pangu_alpha.model import loss
from pangu_alpha.model.loss import TokenLoss

LABELS = np.array([[0, 5, 49, 7], [7, 8, 9, 10]], np.int32)
EVERYTHING = np.ones((2, 4), np.float32)


@pytest.fixture(autouse=True, params=[True, False], ids=["in few passes", "in operators that can be split"])
def _both_forms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "on_cpu", lambda: request.param)


def loss_of(logits: np.ndarray, mask: np.ndarray, vocab_size: int) -> float:
    total = TokenLoss(vocab_size, logits.shape[1])(Tensor(logits), Tensor(LABELS), Tensor(mask)).asnumpy()
    assert total.shape == () and total.dtype == np.float32
    return float(total)


@pytest.mark.parametrize("size", [1.0, 30.0, 1e4])
def test_is_the_negative_log_probability_of_each_token(size: float) -> None:
    """At size 10,000 exp overflows without the maximum taken out, and log(softmax) is -inf."""
    logits = np.random.default_rng(1).normal(0, size, (8, 50)).astype(np.float32)
    exact = logits.astype(np.float64)
    log_sum = np.log(np.exp(exact - exact.max(1, keepdims=True)).sum(1)) + exact.max(1)
    expected = log_sum - exact[np.arange(8), LABELS.reshape(-1)]
    for token in range(8):
        only = np.eye(8, dtype=np.float32)[token].reshape(2, 4)
        assert loss_of(logits, only, 50) == pytest.approx(expected[token], rel=2e-6, abs=2e-6)
    assert loss_of(logits, EVERYTHING, 50) == pytest.approx(expected.sum(), rel=2e-6)


def test_float16_logits_are_summed_in_float32() -> None:
    """The log of 40,000 equal terms; float16 would stop counting at 2048."""
    total = loss_of(np.zeros((8, 40000), np.float16), EVERYTHING, 40000)
    assert total == pytest.approx(8 * np.log(40000), rel=1e-6)


def test_gradient_is_softmax_minus_one_hot() -> None:
    logits = np.random.default_rng(2).normal(0, 3, (8, 50)).astype(np.float32)
    inputs = (Tensor(logits), Tensor(LABELS), Tensor(EVERYTHING))
    gradient = ops.GradOperation()(TokenLoss(50, 50))(*inputs).asnumpy()
    exact = np.exp(logits.astype(np.float64))
    expected = exact / exact.sum(1, keepdims=True)
    expected[np.arange(8), LABELS.reshape(-1)] -= 1
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-6)
    assert gradient.dtype == np.float32


def test_padded_words_have_no_probability_and_no_gradient() -> None:
    logits = np.random.default_rng(3).normal(0, 3, (8, 52)).astype(np.float32)
    logits[:, 50:] = 100.0
    assert loss_of(logits, EVERYTHING, 50) == pytest.approx(loss_of(logits[:, :50], EVERYTHING, 50), rel=1e-6)
    inputs = (Tensor(logits), Tensor(LABELS), Tensor(EVERYTHING))
    gradient = ops.GradOperation()(TokenLoss(50, 52))(*inputs).asnumpy()
    assert not gradient[:, 50:].any() and gradient[:, :50].any()
