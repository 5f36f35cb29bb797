from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_alpha.evaluation.windows import Window, pack_windows, sliding_windows

EOD = 1


@given(num_tokens=st.integers(1, 60), length=st.integers(2, 12), data=st.data())
def test_each_token_is_scored_once_with_enough_context(num_tokens: int, length: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, length))
    tokens = [*range(10, 10 + num_tokens - 1), EOD]
    stream = [EOD, *tokens]
    scored: list[int] = []
    for window in sliding_windows(tokens, EOD, length, stride):
        assert len(window.inputs) == len(window.labels) <= length
        assert len(scored) < num_tokens, "a window too many"
        start = len(scored) - window.num_context
        assert list(window.inputs) == stream[start : start + len(window.inputs)]
        assert list(window.labels) == tokens[start : start + len(window.inputs)]
        assert start == 0 or window.num_context >= length - stride
        scored += window.labels[window.num_context :]
    assert scored == tokens


def test_windows_of_one_document() -> None:
    windows = list(sliding_windows([5, 6, 7, 8, 9, EOD], EOD, 4, 2))
    assert windows == [Window([EOD, 5, 6, 7], [5, 6, 7, 8], 0), Window([6, 7, 8, 9], [7, 8, 9, EOD], 2)]


def test_packed_rows_keep_documents_apart() -> None:
    windows = [
        Window([EOD, 5, 6], [5, 6, EOD], 0),
        Window([EOD, 7, 8, 9, 10], [7, 8, 9, 10, 11], 0),
        Window([9, 10, 11], [10, 11, EOD], 2),  # goes on inside a document: no <eod> at its start
        Window([EOD, 12, 13, 14], [12, 13, 14, EOD], 0),  # fits nowhere: the second batch
    ]
    first, second = pack_windows(windows, 6, 2, EOD)
    np.testing.assert_array_equal(first.input_ids, [[EOD, 5, 6, 9, 10, 11], [EOD, 7, 8, 9, 10, 0]])
    np.testing.assert_array_equal(first.labels, [[5, 6, EOD, 10, 11, EOD], [7, 8, 9, 10, 11, 0]])
    np.testing.assert_array_equal(first.position_ids, [[0, 0, 1, 0, 1, 2], [0, 0, 1, 2, 3, 0]])
    np.testing.assert_array_equal(first.loss_mask, [[1, 1, 1, 0, 0, 1], [1, 1, 1, 1, 1, 0]])
    same = first.document_ids[:, :, None] == first.document_ids[:, None, :]
    expected = np.zeros((2, 6, 6), bool)
    for row, bounds in enumerate([[0, 1, 3, 6], [0, 1, 5, 6]]):
        for start, stop in pairwise(bounds):
            expected[row, start:stop, start:stop] = True
    np.testing.assert_array_equal(same, expected)
    assert second.loss_mask.sum() == 4


@pytest.mark.parametrize("array", ["input_ids", "position_ids", "document_ids", "labels", "sample_keys"])
def test_types_are_those_the_network_reads(array: str) -> None:
    (batch,) = pack_windows([Window([EOD], [5], 0)], 4, 2, EOD)
    assert getattr(batch, array).dtype == np.int32
    assert batch.loss_mask.dtype == np.float32
