"""Sliding windows over documents, packed into batches. No MindSpore here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pangu_alpha.data import Batch


@dataclass(frozen=True)
class Window:
    """A stretch of one document that the network reads at once."""

    inputs: Sequence[int]
    labels: Sequence[int]
    """The token after each input."""
    num_context: int
    """Labels at the start that an earlier window has scored already."""


def sliding_windows(tokens: Sequence[int], eod_id: int, length: int, stride: int) -> Iterator[Window]:
    """Windows that score each token of a document once.

    The first token is predicted from a lone `<eod>`, the end of a document that is not there. A token in the first
    window has everything before it as context, a later one at least `length` - `stride` tokens.

    Args:
        tokens: of one document, its `<eod>` included.
        eod_id: the token before the first.
        length: tokens that the network sees.
        stride: labels that a window adds to those of the one before, from 1 to `length`.
    """
    inputs = [eod_id, *tokens[:-1]]
    yield Window(inputs[:length], tokens[:length], 0)
    for start in range(stride, len(tokens) - length + stride, stride):
        stop = start + length
        yield Window(inputs[start:stop], tokens[start:stop], length - stride)


def pack_windows(windows: Iterable[Window], length: int, batch_size: int, eod_id: int) -> Iterator[Batch]:
    """Batches of `batch_size` rows of `length`. Windows that fit share a row, kept apart by their document ids."""
    builder = _BatchBuilder(length, batch_size, eod_id)
    for window in windows:
        if not builder.add(window):
            yield builder.build()
            builder = _BatchBuilder(length, batch_size, eod_id)
            builder.add(window)
    if not builder.is_empty:
        yield builder.build()


class _BatchBuilder:
    def __init__(self, length: int, batch_size: int, eod_id: int) -> None:
        self._length, self._eod_id = length, eod_id
        shape = (batch_size, length)
        self._inputs, self._labels, self._positions, self._documents = (np.zeros(shape, np.int32) for _ in range(4))
        self._loss_mask = np.zeros(shape, np.float32)
        self._used = [0] * batch_size
        self._num_documents = 0

    @property
    def is_empty(self) -> bool:
        return not any(self._used)

    def add(self, window: Window) -> bool:
        """Put `window` into the first row where it fits; False if there is none."""
        size = len(window.inputs)
        row = next((row for row, used in enumerate(self._used) if used + size <= self._length), None)
        if row is None:
            return False
        start = self._used[row]
        place = (row, slice(start, start + size))
        self._inputs[place], self._labels[place] = window.inputs, window.labels
        self._loss_mask[row, start + window.num_context : start + size] = 1.0
        self._positions[place] = np.arange(size)
        self._num_documents += 1
        self._documents[place] = self._num_documents
        if window.inputs[0] == self._eod_id:
            # It ends another document, as in training: the first token stands at position 0 and does not see it.
            self._positions[row, start + 1 : start + size] -= 1
            self._num_documents += 1
            self._documents[row, start + 1 : start + size] = self._num_documents
        self._used[row] += size
        return True

    def build(self) -> Batch:
        # Unused places keep document 0, position 0 and weight 0.
        return Batch(
            input_ids=self._inputs,
            position_ids=self._positions,
            document_ids=self._documents,
            labels=self._labels,
            loss_mask=self._loss_mask,
            sample_keys=np.zeros(len(self._used), np.int32),
        )
