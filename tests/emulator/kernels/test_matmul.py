from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mindspore import Tensor, ops


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_products(run_kernel: Callable[..., Any], transpose_a: bool, transpose_b: bool) -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(5, 7)).astype(np.float32), rng.normal(size=(7, 4)).astype(np.float32)
    left, right = (a.T.copy() if transpose_a else a), (b.T.copy() if transpose_b else b)
    np.testing.assert_allclose(run_kernel("MatMul", left, right, transpose_a, transpose_b), a @ b, rtol=1e-5, atol=1e-6)
    batch = [np.stack([matrix, 2 * matrix])[None] for matrix in (left, right)]
    expected = ops.BatchMatMul(transpose_a, transpose_b)(*map(Tensor, batch)).asnumpy()
    np.testing.assert_allclose(
        run_kernel("BatchMatMul", *batch, transpose_a, transpose_b), expected, rtol=1e-5, atol=1e-6
    )
