"""A tensor as it lies in somebody's file, of which rows are read when they are wanted: nothing large is held."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from pangu_alpha.errors import CheckpointError, DamagedError
from pangu_alpha.parallel.parameters import Shape
from pangu_alpha.reading import open_file

Array = NDArray[np.float32]
Kind = Literal["float32", "float16", "bfloat16"]
DTYPES: Mapping[Kind, np.dtype] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
_LARGEST_FLOAT16 = 65504.0


@dataclass(frozen=True)
class Stored:
    """One tensor, or a slice of one, row by row in a file."""

    path: Path
    kind: Kind
    shape: Shape
    spans: tuple[tuple[int, int], ...]
    """Where its bytes are, in this order: offset and number."""
    crc32: int | None = None
    """Of all its bytes, where the file says it."""

    def read(self, begin: int = 0, stop: int | None = None) -> Array:
        """The rows from `begin` to before `stop`; None: all from `begin` on.

        Raises:
            DamagedError: the file is cut off, or its bytes are not what was written.
            CheckpointError: it cannot be read now.
        """
        dtype = DTYPES[self.kind]
        rows = self.shape[0] if self.shape else 1
        row_bytes = math.prod(self.shape[1:]) * dtype.itemsize
        stop = rows if stop is None else stop
        data = self._bytes(begin * row_bytes, stop * row_bytes)
        if self.crc32 is not None and (begin, stop) == (0, rows) and zlib.crc32(data) != self.crc32:
            raise DamagedError(f"{self.path} is damaged: a tensor's checksum is not its own. Fetch the file again")
        values = np.frombuffer(data, dtype).reshape((stop - begin, *self.shape[1:]) if self.shape else ())
        return values.astype(np.float32, copy=False)

    def _bytes(self, begin: int, stop: int) -> bytearray:
        data = bytearray(stop - begin)
        view, place = memoryview(data), 0
        try:
            with open_file(self.path) as file:
                for offset, size in self.spans:
                    first, last = max(begin, place), min(stop, place + size)
                    if first < last:
                        _read_into(file.fileno(), view[first - begin : last - begin], offset + first - place)
                    place += size
        except EOFError as error:
            raise DamagedError(f"{self.path} is cut off: it ends inside a tensor. Fetch the file again") from error
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be read: {error.strerror}") from error
        return data


@dataclass(frozen=True)
class Tensor:
    """A whole tensor by its name in a dialect."""

    shape: Shape
    read: Callable[[], Array]
    """Gives all of it."""

    @classmethod
    def of(cls, stored: Stored) -> Tensor:
        """One that lies in one piece."""
        return cls(stored.shape, stored.read)


def as_kind(name: str, values: Array, kind: Kind) -> NDArray[np.floating]:
    """The numbers in the type that they are written in.

    Raises:
        CheckpointError: some are too large for float16.
    """
    if kind == "float16" and values.size and float(np.abs(values).max()) > _LARGEST_FLOAT16:
        raise CheckpointError(f"{name} holds numbers above {_LARGEST_FLOAT16:g}, which float16 has not: write float32")
    return np.ascontiguousarray(values.astype(DTYPES[kind], copy=False))


def num_bytes(shape: Shape, kind: Kind) -> int:
    """Of a tensor in a file."""
    return math.prod(shape) * DTYPES[kind].itemsize


def row_blocks(shape: Shape, block_bytes: int = 16 << 20) -> Iterator[tuple[int, int]]:
    """First and last row (exclusive) of parts of a float32 tensor that are about this large."""
    step = max(1, block_bytes // (4 * math.prod(shape[1:])))
    for begin in range(0, shape[0], step):
        yield begin, min(begin + step, shape[0])


def _read_into(file: int, view: memoryview, offset: int) -> None:
    done = 0
    while done < len(view):
        found = os.preadv(file, [view[done:]], offset + done)
        if not found:
            raise EOFError
        done += found
