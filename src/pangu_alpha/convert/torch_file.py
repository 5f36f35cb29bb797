"""PyTorch's files of tensors: archives (since 1.6) and the older form, read without PyTorch; archives are written."""

from __future__ import annotations

import math
import os
import pickle
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from pangu_alpha.convert.stored import Array, Kind, Stored, as_kind
from pangu_alpha.convert.torch_pickle import Noted, Storage, dump_pickle, load_pickle, storage_of
from pangu_alpha.errors import CheckpointError, DamagedError
from pangu_alpha.reading import open_file

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""Of the older form."""
_MAX_PICKLE = 64 << 20
_MAX_TENSORS = 100_000
_MAX_DEPTH = 12
_LOCAL_HEAD = 30
"""Bytes of an archive's entry before its name."""


@dataclass(frozen=True)
class TorchFile:
    """What is in a file."""

    tensors: Mapping[str, Stored]
    """Those of floating-point numbers, by the keys on the way to them, joined with dots."""
    others: Mapping[str, Any]
    """Everything else, in the same way."""


def read_torch(path: Path) -> TorchFile:
    """What a file holds. Nothing that it names is called.

    Raises:
        CheckpointError: it names something that has no place in a file of weights, or cannot be read now.
        DamagedError: it is no such file, or is cut off.
    """
    try:
        with open_file(path) as file:
            is_archive = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            tree, places = (_read_archive if is_archive else _read_older)(file)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path} is not read: {error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise DamagedError(f"{path} is damaged or cut off, or not a file of PyTorch: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    tensors: dict[str, Stored] = {}
    others: dict[str, Any] = {}
    for name, value in _leaves(path, tree):
        if isinstance(value, Noted) and value.storage.type.kind is not None:
            tensors[name] = _stored(path, value, places)
        else:
            others[name] = value
    return TorchFile(tensors, others)


Places = Mapping[str, tuple[int, int, int | None]]
"""Offset, bytes and checksum of each storage."""


def _stored(path: Path, noted: Noted, places: Places) -> Stored:
    storage, item = noted.storage, noted.storage.type.item_bytes
    assert storage.type.kind is not None
    if storage.key not in places:
        raise DamagedError(f"{path} is damaged: it lacks the numbers {storage.key}")
    begin, size, crc32 = places[storage.key]
    if size != storage.numel * item:
        raise DamagedError(f"{path} is damaged: {storage.key} has {size:,} bytes, not {storage.numel * item:,}")
    span = (begin + noted.offset * item, math.prod(noted.shape) * item)
    return Stored(path, storage.type.kind, noted.shape, (span,), crc32 if noted.is_whole else None)


def _leaves(path: Path, tree: Any) -> Iterator[tuple[str, Any]]:
    waiting: list[tuple[tuple[str, ...], Any]] = [((), tree)]
    count = 0
    while waiting:
        keys, value = waiting.pop()
        count += 1
        if count > _MAX_TENSORS or len(keys) > _MAX_DEPTH:
            raise CheckpointError(f"{path} is not read: it holds more than {_MAX_TENSORS:,} things, or too deep ones")
        if isinstance(value, Mapping):
            waiting += [((*keys, str(key)), item) for key, item in reversed(list(value.items()))]
        else:
            yield ".".join(keys), value


def _read_archive(file: BinaryIO) -> tuple[Any, Places]:
    with zipfile.ZipFile(file) as archive:
        entries = {}
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{entry.filename} is compressed")
            entries[entry.filename.partition("/")[2]] = entry
        if entries["data.pkl"].file_size > _MAX_PICKLE:
            raise ValueError(f"its pickle has {entries['data.pkl'].file_size:,} bytes")
        if "byteorder" in entries and archive.read(entries["byteorder"]) != b"little":
            raise ValueError("its numbers are big-endian")
        tree = load_pickle(BytesIO(archive.read(entries["data.pkl"])))
        places = {}
        for name, entry in entries.items():
            if name.startswith("data/"):
                file.seek(entry.header_offset)
                head = file.read(_LOCAL_HEAD)
                begin = entry.header_offset + len(head) + sum(_short(head, place) for place in (26, 28))
                places[name.removeprefix("data/")] = (begin, entry.file_size, entry.CRC)
        return tree, places


def _short(data: bytes, place: int) -> int:
    return int.from_bytes(data[place : place + 2], "little")


def _read_older(file: BinaryIO) -> tuple[Any, Places]:
    if load_pickle(file) != _MAGIC or load_pickle(file) != _PROTOCOL:
        raise ValueError("it does not begin as one")
    system = load_pickle(file)
    if not isinstance(system, dict) or not system.get("little_endian"):
        raise ValueError("its numbers are big-endian")
    noted: list[Storage] = []
    tree = load_pickle(file)
    keys = load_pickle(file)
    if not isinstance(keys, list):
        raise ValueError("it does not list its storages")
    waiting = [tree]
    while waiting and len(noted) <= _MAX_TENSORS:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, Noted):
            noted.append(value.storage)
    sizes = {storage.key: storage.type.item_bytes for storage in noted}
    places: dict[str, tuple[int, int, int | None]] = {}
    end = os.fstat(file.fileno()).st_size
    for key in map(str, keys):
        count = int.from_bytes(file.read(8), "little")
        if key not in sizes:
            raise ValueError(f"nothing says of which type the numbers {key} are")
        places[key] = (file.tell(), count * sizes[key], None)
        if file.tell() + places[key][1] > end:
            raise ValueError(f"the numbers {key} do not end")
        file.seek(places[key][1], os.SEEK_CUR)
    return tree, places


class TorchWriter:
    """An archive that is written tensor by tensor, in any order."""

    def __init__(self, path: Path, tree: Mapping[str, Any], kind: Kind) -> None:
        """Args:
        path: of the file.
        tree: nested dicts of numbers and of shapes, which stand for tensors.
        kind: of the numbers.
        """
        self._kind = kind
        self._keys: dict[str, str] = {}
        """Of the storage of each tensor."""
        self._archive = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)
        self._archive.writestr("archive/data.pkl", dump_pickle(self._noted(tree, "")))
        self._archive.writestr("archive/byteorder", b"little")
        self._archive.writestr("archive/version", b"3\n")

    def _noted(self, tree: Any, name: str) -> Any:
        if isinstance(tree, Mapping):
            return {key: self._noted(value, f"{name}.{key}" if name else key) for key, value in tree.items()}
        if isinstance(tree, tuple):
            self._keys[name] = str(len(self._keys))
            return Noted(storage_of(self._keys[name], self._kind, math.prod(tree)), 0, tree)
        return tree

    def write(self, name: str, values: Array) -> None:
        """Write the numbers of the tensor at `name`, the keys on the way to it, joined with dots."""
        data = as_kind(name, values, self._kind).data.cast("B")
        entry = zipfile.ZipInfo(f"archive/data/{self._keys[name]}")
        with self._archive.open(entry, "w", force_zip64=True) as file:
            file.write(data)

    def close(self) -> None:
        """Write the archive's directory."""
        self._archive.close()


@contextmanager
def closing_all(writers: Iterable[TorchWriter]) -> Iterator[None]:
    """Close all `writers` at the end."""
    try:
        yield
    finally:
        for writer in writers:
            writer.close()
