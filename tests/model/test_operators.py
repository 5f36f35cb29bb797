"""GeLU and LayerNorm in parts and as MindSpore's own operators: the same functions, with the same gradients."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from mindspore import Tensor, nn, ops
from scipy.special import erf

from pangu_alpha.model import operators
from pangu_alpha.model.operators import ErfGelu, Gelu, Normalise, SumOfSquares


@pytest.fixture(params=[True, False], ids=["in parts", "one operator"])
def _both_forms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "on_cpu", lambda: request.param)


BOTH = pytest.mark.usefixtures("_both_forms")


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """float32 [32, 24]: rows of other means and sizes."""
    generator = np.random.default_rng(6)
    return (generator.normal(0, 1, (32, 24)) * np.geomspace(0.1, 10, 32)[:, None] + 2).astype(np.float32)


def slope(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """Central differences of an elementwise function."""
    return (function(x + 1e-5) - function(x - 1e-5)) / 2e-5


@BOTH
def test_gelu(rows: np.ndarray, reference: ModuleType) -> None:
    cell = Gelu()
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(cell(Tensor(rows)).asnumpy(), reference.gelu(exact), rtol=1e-5, atol=2e-6)
    gradient = ops.GradOperation()(cell)(Tensor(rows)).asnumpy()
    np.testing.assert_allclose(gradient, slope(reference.gelu, exact), rtol=1e-5, atol=5e-6)


def test_gelu_with_the_error_function(rows: np.ndarray, reference: ModuleType) -> None:
    def expected(x: np.ndarray) -> np.ndarray:
        return 0.5 * x * (1 + erf(x / np.sqrt(2)))

    cell, exact = ErfGelu(), rows.astype(np.float64)
    np.testing.assert_allclose(cell(Tensor(rows)).asnumpy(), expected(exact), rtol=1e-5, atol=2e-6)
    gradient = ops.GradOperation()(cell)(Tensor(rows)).asnumpy()
    np.testing.assert_allclose(gradient, slope(expected, exact), rtol=1e-5, atol=5e-6)
    assert 3e-4 < np.abs(expected(exact) - reference.gelu(exact)).max() < 6e-4  # what tells the two forms apart


@BOTH
def test_layer_norm(rows: np.ndarray, reference: ModuleType) -> None:
    cell = Normalise(24)
    generator = np.random.default_rng(8)
    gamma, beta, upstream = generator.normal(1, 0.3, 24), generator.normal(0, 0.3, 24), generator.normal(0, 1, (32, 24))
    single = [Tensor(array.astype(np.float32)) for array in (rows, gamma, beta)]
    exact = rows.astype(np.float64)

    def expected(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
        return reference.layer_norm({"n.gamma": gamma, "n.beta": beta}, "n", x)

    np.testing.assert_allclose(cell(*single).asnumpy(), expected(exact, gamma, beta), rtol=0, atol=1e-5)
    gradients = ops.GradOperation(get_all=True, sens_param=True)(cell)(*single, Tensor(upstream.astype(np.float32)))
    for number, inputs in enumerate((exact, gamma, beta)):
        index = (3, 5) if number == 0 else (5,)
        sums = []
        for step in (1e-5, -1e-5):
            moved = [exact.copy(), gamma.copy(), beta.copy()]
            moved[number][index] = inputs[index] + step
            sums.append((expected(*moved) * upstream).sum())
        assert gradients[number].asnumpy()[index] == pytest.approx((sums[0] - sums[1]) / 2e-5, rel=1e-4, abs=1e-5)


@BOTH
def test_layer_norm_of_a_row_far_from_0(reference: ModuleType) -> None:
    """Mean 1000, deviation 1: a variance of mean square minus squared mean would lose 3 of float32's 7 digits."""
    cell = Normalise(24)
    x = (1000 + np.random.default_rng(9).normal(0, 1, (4, 24))).astype(np.float32)
    ones, zeros = np.ones(24, np.float32), np.zeros(24, np.float32)
    expected = reference.layer_norm({"n.gamma": ones, "n.beta": zeros}, "n", x.astype(np.float64))
    np.testing.assert_allclose(cell(Tensor(x), Tensor(ones), Tensor(zeros)).asnumpy(), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("form", [Gelu, ErfGelu])
@pytest.mark.parametrize("size", [200.0, 300.0, 40000.0])
def test_gelu_of_large_float16(size: float, form: type[nn.Cell]) -> None:
    """x² leaves float16's range at 256; value and gradient must not."""
    x = Tensor(np.array([[size, -size]], np.float16))
    np.testing.assert_array_equal(form()(x).asnumpy(), [[np.float16(size), 0]])
    np.testing.assert_array_equal(ops.GradOperation()(form())(x).asnumpy(), [[1, 0]])


@BOTH
def test_sum_of_squares() -> None:
    x = np.random.default_rng(4).normal(0, 1, (300, 1000)).astype(np.float32)
    exact = np.square(x.astype(np.float64)).sum()
    assert float(SumOfSquares()(Tensor(x))) == pytest.approx(exact, rel=1e-6)
