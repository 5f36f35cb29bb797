from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mindspore import Tensor, ops


def test_gather(run_kernel: Callable[..., Any]) -> None:
    table = np.random.default_rng(8).normal(size=(7, 3)).astype(np.float32)
    indices = np.array([[0, 6, 2], [2, 2, 5]], np.int32)
    np.testing.assert_array_equal(
        run_kernel("Gather", table, indices, 0, 0), ops.Gather()(Tensor(table), Tensor(indices), 0).asnumpy()
    )
    with pytest.raises(IndexError, match=r"outside \[0, 7\)"):
        run_kernel("Gather", table, np.array([7], np.int32), 0, 0)
    with pytest.raises(ValueError, match="batch_dims"):
        run_kernel("Gather", table, indices, 0, 1)


def test_unsorted_segment_sum_is_the_gradient_of_gather(run_kernel: Callable[..., Any]) -> None:
    rng = np.random.default_rng(9)
    dy, indices = rng.normal(size=(4, 5, 3)), rng.integers(0, 6, (4, 5)).astype(np.int32)
    one_hot = np.eye(6)[indices.reshape(-1)]
    np.testing.assert_allclose(
        run_kernel("UnsortedSegmentSum", dy, indices, 6), one_hot.T @ dy.reshape(-1, 3), rtol=1e-12
    )


def test_unsorted_segment_sum_drops_what_is_outside(run_kernel: Callable[..., Any]) -> None:
    x = np.array([1.0, 10.0, 100.0])
    assert run_kernel("UnsortedSegmentSum", x, np.array([-1, 1, 2], np.int32), 2).tolist() == [0.0, 10.0]
    assert run_kernel("UnsortedSegmentSum", x, np.array([5, 5, 5], np.int32), 2).tolist() == [0.0, 0.0]


def test_gather_d(run_kernel: Callable[..., Any]) -> None:
    x = np.random.default_rng(10).normal(size=(4, 6)).astype(np.float32)
    indices = np.array([[5], [0], [3], [3]], np.int32)
    expected = ops.GatherD()(Tensor(x), 1, Tensor(indices)).asnumpy()
    np.testing.assert_array_equal(run_kernel("GatherD", x, 1, indices), expected)
    with pytest.raises(IndexError, match="from -1 to 3"):
        run_kernel("GatherD", x, 1, indices - np.array([[0], [1], [0], [0]], np.int32) - (indices == 5) * 3)


def test_gather_d_gradient(run_kernel: Callable[..., Any], numeric_gradient: Callable[..., Any]) -> None:
    rng = np.random.default_rng(11)
    x, dy = rng.normal(size=(3, 4)), rng.normal(size=(3, 2))
    indices = np.array([[0, 0], [3, 1], [2, 2]], np.int32)
    expected = numeric_gradient(lambda x: run_kernel("GatherD", x, 1, indices), x, dy)
    np.testing.assert_allclose(run_kernel("GatherDGradV2", x, 1, indices, dy), expected, rtol=1e-7, atol=1e-9)


def test_one_hot(run_kernel: Callable[..., Any]) -> None:
    indices, on, off = np.array([[1, 4], [0, -1]], np.int32), np.float32(2), np.float32(-1)
    result = run_kernel("OneHot", indices, 4, on, off, -1)
    assert result.tolist() == [[[-1, 2, -1, -1], [-1] * 4], [[2, -1, -1, -1], [-1] * 4]]
    first = run_kernel("OneHot", indices, 4, on, off, 0)
    np.testing.assert_array_equal(first, np.moveaxis(result, -1, 0))
