from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mindspore import Tensor, ops


@pytest.mark.parametrize("primitive", ["ReduceSum", "ReduceMax", "ReduceMin", "ReduceMean"])
@pytest.mark.parametrize("axes", [(), 1, (0, -1)])
@pytest.mark.parametrize("keep_dims", [False, True])
def test_reductions(run_kernel: Callable[..., Any], primitive: str, axes: Any, keep_dims: bool) -> None:
    x = np.random.default_rng(4).normal(size=(3, 4, 5)).astype(np.float32)
    expected = getattr(ops, primitive)(keep_dims)(Tensor(x), axes).asnumpy()
    np.testing.assert_allclose(run_kernel(primitive, x, axes, keep_dims), expected, rtol=1e-5, atol=1e-6)


def test_truth(run_kernel: Callable[..., Any]) -> None:
    x = np.array([[True, False], [True, True]])
    assert run_kernel("ReduceAll", x, 1, False).tolist() == [False, True]
    assert run_kernel("ReduceAny", x, (), False).tolist() is True


def test_skip_mode_keeps_everything_where_no_axis_is_named(run_kernel: Callable[..., Any]) -> None:
    x = np.arange(6.0).reshape(2, 3)
    assert run_kernel("ReduceSum", x, (), False, True).tolist() == x.tolist()
    assert float(run_kernel("ReduceSum", x, (), False, False)) == 15.0


def test_sum_ext(run_kernel: Callable[..., Any]) -> None:
    x = np.arange(6.0).reshape(2, 3)
    assert float(run_kernel("SumExt", x, None, False, None)) == 15.0
    assert float(run_kernel("SumExt", x, (), False, None)) == 15.0
    assert run_kernel("SumExt", x, (0,), True, 43).tolist() == [[3.0, 5.0, 7.0]]
