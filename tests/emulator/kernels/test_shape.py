from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mindspore import Tensor, ops

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("primitive", "inputs"),
    [
        ("Reshape", ((4, -1),)),
        ("Transpose", ((2, 0, 1),)),
        ("ExpandDims", (-1,)),
        ("Tile", ((2, 1, 3),)),
        ("BroadcastTo", ((5, -1, 3, 4),)),
        ("ZerosLike", ()),
        ("OnesLike", ()),
    ],
)
def test_moves(run_kernel: Callable[..., Any], primitive: str, inputs: tuple[Any, ...]) -> None:
    if primitive == "BroadcastTo":
        expected = ops.BroadcastTo(*inputs)(Tensor(X)).asnumpy()
    else:
        expected = getattr(ops, primitive)()(Tensor(X), *inputs).asnumpy()
    np.testing.assert_array_equal(run_kernel(primitive, X, *inputs), expected)


def test_zeros_like_ext(run_kernel: Callable[..., Any]) -> None:
    np.testing.assert_array_equal(run_kernel("ZerosLikeExt", X, None), np.zeros((2, 3, 4)))


def test_split_and_concat_undo_each_other(run_kernel: Callable[..., Any]) -> None:
    parts = run_kernel("Split", X, 2, 2)
    assert [part.shape for part in parts] == [(2, 3, 2)] * 2
    np.testing.assert_array_equal(run_kernel("Concat", parts, 2), X)
    np.testing.assert_array_equal(run_kernel("Concat", (X, X), 0), ops.Concat(0)((Tensor(X), Tensor(X))).asnumpy())


def test_stack(run_kernel: Callable[..., Any]) -> None:
    expected = ops.Stack(axis=1)((Tensor(X), Tensor(2 * X))).asnumpy()
    np.testing.assert_array_equal(run_kernel("Stack", (X, 2 * X), axis=1, num=2, N=2), expected)


@pytest.mark.parametrize("masks", [(0, 0), (1, 0), (0, 2), (5, 6)])
def test_strided_slice(run_kernel: Callable[..., Any], masks: tuple[int, int]) -> None:
    begin, end, strides = (1, 0, 1), (2, 2, 4), (1, 1, 2)
    expected = ops.StridedSlice(*masks)(Tensor(X), begin, end, strides).asnumpy()
    np.testing.assert_array_equal(run_kernel("StridedSlice", X, begin, end, strides, *masks, 0, 0, 0), expected)


def test_strided_slice_gradient(run_kernel: Callable[..., Any], numeric_gradient: Callable[..., Any]) -> None:
    where = (1, 0, 1), (2, 3, 4), (1, 1, 2)
    x, dy = X.astype(np.float64), np.arange(6.0).reshape(1, 3, 2)
    expected = numeric_gradient(lambda x: run_kernel("StridedSlice", x, *where, 0, 0, 0, 0, 0), x, dy)
    np.testing.assert_allclose(run_kernel("StridedSliceGrad", dy, X.shape, *where), expected, atol=1e-8)


def test_strided_slice_that_drops_a_dim(run_kernel: Callable[..., Any]) -> None:
    result = run_kernel("StridedSlice", X, (1, 0), (2, 3), (1, 1), 0, 0, 0, 0, 1)
    np.testing.assert_array_equal(result, X[1, 0:3])
    with pytest.raises(ValueError, match="ellipsis"):
        run_kernel("StridedSlice", X, (1,), (2,), (1,), 0, 0, 1, 0, 0)
