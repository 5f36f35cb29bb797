"""The arrays of one batch, made from windows of token ids."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """What the network reads: B rows (samples), S = seq_length positions."""

    input_ids: NDArray[np.int32]
    """[B, S]."""
    position_ids: NDArray[np.int32]
    """[B, S], from 0 at the start of the row and after each end-of-document id."""
    document_ids: NDArray[np.int32]
    """[B, S], 0, 1, 2 … inside the row. The end-of-document id belongs to the document it ends."""
    labels: NDArray[np.int32]
    """[B, S], the next id."""
    loss_mask: NDArray[np.float32]
    """[B, S], 0 where the label is padding, 1 elsewhere."""
    sample_keys: NDArray[np.int32]
    """[B], a hash ≥ 0 of (seed, global sample number): the source of the sample's dropout."""

    def arrays(self) -> tuple[NDArray[np.int32] | NDArray[np.float32], ...]:
        """All of the above, in order: the inputs of the loss."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def rows(self, start: int, stop: int) -> Batch:
        """Samples `start` to `stop` of this batch."""
        return Batch(**{field.name: getattr(self, field.name)[start:stop] for field in fields(self)})


def make_batch(windows: NDArray[np.int32], sample_keys: NDArray[np.int32], *, eod_id: int, pad_id: int) -> Batch:
    """The batch of `windows` [B, S + 1], whose unused ends are `pad_id`."""
    input_ids, labels = windows[:, :-1], windows[:, 1:]
    position_ids, document_ids = _places(input_ids, eod_id)
    return Batch(
        input_ids=np.ascontiguousarray(input_ids),
        position_ids=position_ids,
        document_ids=document_ids,
        labels=np.ascontiguousarray(labels),
        loss_mask=(labels != pad_id).astype(np.float32),
        sample_keys=sample_keys,
    )


def _places(input_ids: NDArray[np.int32], eod_id: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    # Works on the few starts of documents and repeats what belongs to each: ten times faster than running sums.
    is_start = np.ones(input_ids.shape, bool)
    np.equal(input_ids[:, :-1], eod_id, out=is_start[:, 1:])
    starts = np.flatnonzero(is_start).astype(np.int32)
    lengths = np.diff(starts, append=np.int32(is_start.size))
    documents = np.arange(len(starts), dtype=np.int32)
    rows, places = np.divmod(starts, input_ids.shape[1])
    documents -= documents[places == 0][rows]
    position_ids = np.arange(is_start.size, dtype=np.int32) - np.repeat(starts, lengths)
    return position_ids.reshape(input_ids.shape), np.repeat(documents, lengths).reshape(input_ids.shape)
