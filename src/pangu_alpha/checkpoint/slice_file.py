"""One writer's file: safetensors, with checksums of blocks of rows in its metadata. It is streamed both ways.

Any reader of safetensors opens it. The checksums (XXH3, 64 bits) stand in the head, and whoever names the file knows a
checksum of the head: a part of a tensor can be read and checked without the rest.
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from pangu_alpha.errors import CheckpointError, DamagedError
from pangu_alpha.parallel.parameters import Shape
from pangu_alpha.parallel.parts import Box
from pangu_alpha.reading import open_file, parse_json

BLOCK_BYTES = 1 << 20
"""About the size of what has a checksum: as many whole rows as fit, at least one."""
_CHUNK_BYTES = 16 << 20
"""What is read at once."""
_FLUSHED_BYTES = 32 << 20
_MAX_HEAD = 256 << 20
_DIGITS = 16
"""Of a checksum, in hexadecimal."""
_FLOAT32 = np.dtype("<f4")
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Seal:
    """What the index says of a file."""

    num_bytes: int
    head: str
    """Checksum of its head, in which the checksums of its blocks are."""


def write_slices(path: Path, shapes: Mapping[str, Shape], tensors: Iterable[Array], note: Mapping[str, str]) -> Seal:
    """Write a file and flush it to the disk. One tensor is needed at a time, and one block of it is copied.

    Args:
        path: of the file; its folder exists.
        shapes: of each tensor, by name, in the order of `tensors`.
        tensors: float32.
        note: further metadata.

    Raises:
        OSError: the disk is full or not writable.
    """
    if flat := [name for name, shape in shapes.items() if not math.prod(shape) or not shape]:
        raise ValueError(f"{flat[0]} has no rows: there is nothing to write")
    checksums = {name: "0" * _DIGITS * _num_blocks(shape) for name, shape in shapes.items()}
    head = _head(shapes, checksums, note)
    with path.open("wb", buffering=0) as file, _Flusher(file.fileno()) as flusher:
        _write(file.fileno(), head)
        for (name, shape), values in zip(shapes.items(), tensors, strict=True):
            if values.shape != shape or values.dtype != _FLOAT32:
                raise ValueError(f"{name} is {values.dtype}{list(values.shape)}, not float32{list(shape)}")
            digits = []
            for rows in _blocks(shape):
                block = np.ascontiguousarray(values[rows]).data.cast("B")
                digits.append(xxhash.xxh3_64_hexdigest(block))
                _write(file.fileno(), block)
                flusher.written(len(block))
            checksums[name] = "".join(digits)
        flusher.wait()
        size = file.tell()
        head = _head(shapes, checksums, note)
        if os.pwrite(file.fileno(), head, 0) != len(head):
            raise OSError(errno.EIO, "the head was not written whole", str(path))
        os.fsync(file.fileno())
    return Seal(size, xxhash.xxh3_64_hexdigest(head))


def write_zeros(path: Path, shapes: Mapping[str, Shape], note: Mapping[str, str]) -> Seal:
    """Write a file of zeros, which take no space on the disk; see `write_slices`."""
    checksums = {
        name: "".join(_checksum_of_zeros(size) for size in _block_sizes(shape)) for name, shape in shapes.items()
    }
    head = _head(shapes, checksums, note)
    with path.open("wb", buffering=0) as file:
        _write(file.fileno(), head)
        size = len(head) + sum(map(math.prod, shapes.values())) * _FLOAT32.itemsize
        file.truncate(size)
    return Seal(size, xxhash.xxh3_64_hexdigest(head))


class SliceFile:
    """A file that is open for reading."""

    def __init__(self, path: Path, seal: Seal | None) -> None:
        """Args:
        path: of the file.
        seal: of the index. None: a file of an earlier format, without checksums of blocks; it was checked as a whole.

        Raises:
            DamagedError: it is missing, or is not the file that was sealed.
        """
        self.path = path
        self._is_sealed = seal is not None
        self._buffer = bytearray()
        try:
            self._file = open_file(path)
        except OSError as error:
            raise unreadable(path, error) from error
        try:
            self._read_head(seal)
        except BaseException:
            self._file.close()
            raise

    def _read_head(self, seal: Seal | None) -> None:
        try:
            size = os.fstat(self._file.fileno()).st_size
            start = 8 + min(int.from_bytes(self._file.read(8), "little"), _MAX_HEAD)
            self._file.seek(0)
            head = self._file.read(start)
        except OSError as error:
            raise unreadable(self.path, error) from error
        if seal is not None and size != seal.num_bytes:
            raise DamagedError(f"{self.path} has {size:,} bytes, its writer wrote {seal.num_bytes:,}. {_WAY_OUT}")
        if seal is not None and xxhash.xxh3_64_hexdigest(head) != seal.head:
            raise DamagedError(f"{self.path} is damaged: its head is not what was written. {_WAY_OUT}")
        try:
            fields: dict[str, Any] = parse_json(head[8:].decode())
            metadata = fields.pop("__metadata__", None) or {}
            self._checksums: dict[str, str] = parse_json(metadata["checksums"]) if seal is not None else {}
            self.shapes: dict[str, Shape] = {name: tuple(map(index, item["shape"])) for name, item in fields.items()}
            """Of each tensor in the file."""
            self._begin = {name: start + index(item["data_offsets"][0]) for name, item in fields.items()}
            others = {str(item["dtype"]) for item in fields.values()} - {"F32"}
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise DamagedError(f"{self.path} is damaged: its head cannot be read ({error!r}). {_WAY_OUT}") from error
        if others:
            words = ", ".join(sorted(others))
            raise DamagedError(f"{self.path} holds {words}; a checkpoint's tensors are F32. {_WAY_OUT}")

    def read(self, name: str, box: Box) -> Array:
        """A box of one of its tensors. What is read is checked; at most 16 MiB more than the box are in memory.

        Raises:
            DamagedError: a block is not what was written.
        """
        values = np.empty(box.shape, _FLOAT32)
        for first, rows in self._checked_rows(name, box):
            begin, stop = max(first, box.begin[0]), min(first + len(rows), box.stop[0])
            values[begin - box.begin[0] : stop - box.begin[0]] = rows[
                (slice(begin - first, stop - first), *box.index[1:])
            ]
        return values

    def check(self, name: str) -> Iterator[int]:
        """Read and check all of a tensor; yields the bytes of each chunk."""
        for _, rows in self._checked_rows(name, Box.all_of(self.shapes[name])):
            yield rows.nbytes

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _checked_rows(self, name: str, box: Box) -> Iterator[tuple[int, Array]]:
        """Whole blocks of rows that cover those of `box`, chunk by chunk, good until the next: first row, and rows."""
        if name not in self.shapes:
            raise DamagedError(f"{self.path} is damaged: the index says that {name} is in it. {_WAY_OUT}")
        shape = self.shapes[name]
        row_bytes, step = _row_bytes(shape), _rows_of_block(shape)
        chunk = step * max(1, _CHUNK_BYTES // (step * row_bytes))
        last = min(-(-box.stop[0] // step) * step, shape[0])
        for first in range(box.begin[0] // step * step, last, chunk):
            stop = min(first + chunk, last)
            data = self._bytes(self._begin[name] + first * row_bytes, (stop - first) * row_bytes)
            self._check(name, data, first // step, step * row_bytes)
            yield first, np.frombuffer(data, _FLOAT32).reshape(stop - first, *shape[1:])

    def _bytes(self, offset: int, count: int) -> memoryview:
        if len(self._buffer) < count:
            self._buffer = bytearray(count)
        data = memoryview(self._buffer)[:count]
        done = 0
        while done < count:
            try:
                found = os.preadv(self._file.fileno(), [data[done:]], offset + done)
            except OSError as error:
                raise unreadable(self.path, error) from error
            if not found:
                raise DamagedError(f"{self.path} is damaged: it ends too early. {_WAY_OUT}")
            done += found
        return data

    def _check(self, name: str, data: memoryview, first: int, block_bytes: int) -> None:
        if not self._is_sealed:
            return
        for number, begin in enumerate(range(0, len(data), block_bytes), first):
            expected = self._checksums.get(name, "")[number * _DIGITS : (number + 1) * _DIGITS]
            if xxhash.xxh3_64_hexdigest(data[begin : begin + block_bytes]) != expected:
                raise DamagedError(f"{self.path} is damaged: {name} is not what was written. {_WAY_OUT}")


_WAY_OUT = "Use another checkpoint"
_DAMAGE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.ELOOP, errno.EINVAL)
"""Of the system's errors those that speak of the file, and not of who reads it or of this moment."""


def unreadable(path: Path, error: OSError) -> CheckpointError:
    """The error of a file of a checkpoint that cannot be read: damage, or a fault that does not lie in the file."""
    if error.errno in _DAMAGE:
        return DamagedError(f"{path} cannot be read: {error.strerror}. {_WAY_OUT}")
    return CheckpointError(f"{path} cannot be read: {error.strerror}. Nothing says that it is damaged: mend that first")


class _Flusher:
    """Sends to the disk what a file has so far, while more is written: otherwise the disk waits until the end."""

    def __init__(self, file: int) -> None:
        self._file, self._num_bytes = file, 0
        self._thread = ThreadPoolExecutor(1)
        self._running: Future[None] | None = None

    def written(self, num_bytes: int) -> None:
        """So much more is in the file."""
        self._num_bytes += num_bytes
        if self._num_bytes >= _FLUSHED_BYTES and (self._running is None or self._running.done()):
            self.wait()
            self._num_bytes, self._running = 0, self._thread.submit(os.fdatasync, self._file)

    def wait(self) -> None:
        """Wait for what is being sent, and raise its error: the system tells it once."""
        if self._running is not None:
            self._running.result()

    def __enter__(self) -> _Flusher:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()


def _head(shapes: Mapping[str, Shape], checksums: Mapping[str, str], note: Mapping[str, str]) -> bytes:
    fields: dict[str, Any] = {"__metadata__": {**note, "checksums": json.dumps(checksums, separators=(",", ":"))}}
    offset = 0
    for name, shape in shapes.items():
        end = offset + math.prod(shape) * _FLOAT32.itemsize
        fields[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _write(file: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _row_bytes(shape: Shape) -> int:
    return math.prod(shape[1:]) * _FLOAT32.itemsize


def _rows_of_block(shape: Shape) -> int:
    return max(1, BLOCK_BYTES // _row_bytes(shape))


def _num_blocks(shape: Shape) -> int:
    return -(-shape[0] // _rows_of_block(shape))


def _blocks(shape: Shape) -> Iterator[slice]:
    step = _rows_of_block(shape)
    for first in range(0, shape[0], step):
        yield slice(first, first + step)


def _block_sizes(shape: Shape) -> Iterator[int]:
    """Bytes of each block."""
    for rows in _blocks(shape):
        yield (min(rows.stop, shape[0]) - rows.start) * _row_bytes(shape)


@cache
def _checksum_of_zeros(num_bytes: int) -> str:
    return xxhash.xxh3_64_hexdigest(bytes(num_bytes))
