"""The wire format of protobuf: fields by number, one after the other.

MindSpore's files are messages of it. The library would read a whole file into memory, and every tensor once more; here
the fields of an open file are walked through, and of a tensor only its place is remembered.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

VARINT, LENGTH = 0, 2
"""Kinds of fields: a number, and so many bytes."""
_MOST_DIGITS = 10
"""Bytes of a number."""


class Field(NamedTuple):
    """A field of a message in a file."""

    number: int
    kind: int
    value: int
    """The number that it holds, or how many bytes."""
    offset: int
    """Of the bytes."""


def fields(file: BinaryIO, begin: int, stop: int) -> Iterator[Field]:
    """The fields of the message that lies between two offsets of a file; their bytes are not read.

    Raises:
        ValueError: it is no message of numbers and bytes, or is cut off.
    """
    place = begin
    while place < stop:
        file.seek(place)
        head = file.read(2 * _MOST_DIGITS)
        key, used = varint(head, 0)
        number, kind = key >> 3, key & 7
        if not number or kind not in (VARINT, LENGTH):
            raise ValueError(f"field {number} of kind {kind} at offset {place:,}")
        value, used = varint(head, used)
        place += used
        yield Field(number, kind, value, place)
        if kind == LENGTH:
            place += value
        if place > stop:
            raise ValueError(f"it is cut off: a field needs {place - stop:,} bytes more")


def numbers(data: bytes) -> Iterator[int]:
    """The numbers of a packed field.

    Raises:
        ValueError: it is cut off.
    """
    place = 0
    while place < len(data):
        value, place = varint(data, place)
        yield value


def signed(value: int) -> int:
    """A number of 64 bits as the signed one that it stands for."""
    return value - (1 << 64) if value >> 63 else value


def varint(data: bytes, place: int) -> tuple[int, int]:
    """The number at `place`, and where the next thing begins.

    Raises:
        ValueError: it does not end.
    """
    value = 0
    for count, byte in enumerate(data[place : place + _MOST_DIGITS]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, place + count + 1
    raise ValueError("it is cut off: a number does not end")


def number_field(number: int, value: int) -> bytes:
    """A field that holds a number."""
    return _varint_of(number << 3 | VARINT) + _varint_of(value % (1 << 64))


def bytes_field(number: int, value: bytes) -> bytes:
    """A field that holds bytes: text, or a message."""
    return bytes_head(number, len(value)) + value


def bytes_head(number: int, length: int) -> bytes:
    """What stands before the bytes of a field."""
    return _varint_of(number << 3 | LENGTH) + _varint_of(length)


def _varint_of(value: int) -> bytes:
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])
