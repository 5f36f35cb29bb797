"""MindSpore's `.ckpt` files, read and written without MindSpore: a message a tensor (`checkpoint.proto`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from pangu_alpha.convert.stored import Array, Kind, Stored, as_kind, num_bytes
from pangu_alpha.convert.wire import (
    LENGTH,
    VARINT,
    Field,
    bytes_field,
    bytes_head,
    fields,
    number_field,
    numbers,
    signed,
)
from pangu_alpha.errors import CheckpointError, DamagedError
from pangu_alpha.parallel.parameters import Shape
from pangu_alpha.reading import open_file

_VALUE, _TAG, _TENSOR = 1, 1, 2
_DIMS, _TYPE, _CONTENT = 1, 2, 3
_KINDS: Mapping[str, Kind] = {"Float32": "float32", "Float16": "float16", "BFloat16": "bfloat16"}
_NAMES: Mapping[Kind, str] = {kind: name for name, kind in _KINDS.items()}
_MAX_TEXT = 1 << 16


def read_ckpt(path: Path) -> dict[str, Stored]:
    """The tensors of floating-point numbers in a file, by name; others (counters) are left out.

    Raises:
        DamagedError: it is no such file, or is cut off.
        CheckpointError: it cannot be read now.
    """
    found: dict[str, Stored] = {}
    try:
        with open_file(path) as file:
            for field in fields(file, 0, os.fstat(file.fileno()).st_size):
                if (field.number, field.kind) != (_VALUE, LENGTH):
                    raise ValueError(f"field {field.number} instead of a tensor")
                name, stored = _value(path, file, field.offset, field.offset + field.value)
                if stored is None:
                    continue
                if name in found:  # MindSpore cuts what has more than 512 MiB
                    before = found[name]
                    stored = Stored(path, stored.kind, stored.shape, before.spans + stored.spans)
                found[name] = stored
    except ValueError as error:
        raise DamagedError(f"{path} is damaged, or not a .ckpt file of MindSpore: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    for name, stored in found.items():
        size = sum(count for _, count in stored.spans)
        if size != num_bytes(stored.shape, stored.kind):
            raise DamagedError(f"{path} is damaged: {name} {list(stored.shape)} in {stored.kind} has {size:,} bytes")
    return found


def _value(path: Path, file: BinaryIO, begin: int, stop: int) -> tuple[str, Stored | None]:
    name, stored = "", None
    for field in fields(file, begin, stop):
        if field.kind != LENGTH or field.number not in (_TAG, _TENSOR):
            raise ValueError(f"field {field.number} beside a tensor")
        if field.number == _TAG:
            name = _text(file, field)
        else:
            stored = _tensor(path, file, field.offset, field.offset + field.value)
    if not name:
        raise ValueError("a tensor without a name")
    return name, stored


def _tensor(path: Path, file: BinaryIO, begin: int, stop: int) -> Stored | None:
    dims: list[int] = []
    kind, spans = "", []
    for field in fields(file, begin, stop):
        if field.number == _DIMS:
            dims += [field.value] if field.kind == VARINT else numbers(_bytes(file, field))
        elif field.kind != LENGTH or field.number not in (_TYPE, _CONTENT):
            raise ValueError(f"field {field.number} inside a tensor")
        elif field.number == _TYPE:
            kind = _text(file, field)
        else:
            spans.append((field.offset, field.value))
    return Stored(path, _KINDS[kind], tuple(map(signed, dims)), tuple(spans)) if kind in _KINDS else None


def _text(file: BinaryIO, field: Field) -> str:
    return _bytes(file, field).decode()


def _bytes(file: BinaryIO, field: Field) -> bytes:
    if field.value > _MAX_TEXT:
        raise ValueError(f"a name of {field.value:,} bytes")
    file.seek(field.offset)
    return file.read(field.value)


def append_tensor(path: Path, name: str, values: Array, kind: Kind) -> None:
    """Add a tensor to the end of a file.

    Raises:
        OSError: the disk is full or not writable.
        CheckpointError: a number is too large for `kind`.
    """
    content = as_kind(name, values, kind).data.cast("B")
    with path.open("ab") as file:
        file.write(tensor_head(name, values.shape, kind))
        file.write(content)


def tensor_head(name: str, shape: Shape, kind: Kind) -> bytes:
    """What stands before the numbers of a tensor."""
    size = num_bytes(shape, kind)
    inner = b"".join(number_field(_DIMS, rows) for rows in shape) + bytes_field(_TYPE, _NAMES[kind].encode())
    inner += bytes_head(_CONTENT, size)
    tag = bytes_field(_TAG, name.encode())
    tensor = bytes_head(_TENSOR, len(inner) + size) + inner
    return bytes_head(_VALUE, len(tag) + len(tensor) + size) + tag + tensor
