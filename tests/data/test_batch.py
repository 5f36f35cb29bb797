from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pangu_alpha.data.batch import make_batch

EOD, PAD = 1, 0


@given(st.data())
def test_against_counting_by_hand(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(0, 4), st.integers(2, 30)))
    windows = data.draw(arrays(np.int32, shape, elements=st.integers(0, 4)))
    sample_keys = np.arange(shape[0], dtype=np.int32)
    batch = make_batch(windows, sample_keys, eod_id=EOD, pad_id=PAD)
    for row, window in enumerate(windows.tolist()):
        document = position = 0
        for place, (token, label) in enumerate(pairwise(window)):
            assert batch.input_ids[row, place] == token
            assert batch.labels[row, place] == label
            assert batch.document_ids[row, place] == document
            assert batch.position_ids[row, place] == position
            assert batch.loss_mask[row, place] == (label != PAD)
            position += 1
            if token == EOD:
                document, position = document + 1, 0
    for name in ("input_ids", "position_ids", "document_ids", "labels", "sample_keys"):
        assert getattr(batch, name).dtype == np.int32
        assert getattr(batch, name).flags.c_contiguous
    assert batch.loss_mask.dtype == np.float32
