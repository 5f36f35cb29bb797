"""Pickles of PyTorch, read without running anything that they name, and written.

A pickle is a program that may call any function of Python. Here every name that it mentions is looked up in the short
table below and nowhere else: tensors become a note of where their numbers are, what a training program keeps beside
them (settings, states of random generators) becomes an object that does nothing, and any other name is refused.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from pangu_alpha.convert.stored import Kind
from pangu_alpha.parallel.parameters import Shape

_STORAGES: Mapping[str, Kind] = {"FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16"}
_STORAGE_OF: Mapping[Kind, str] = {kind: name for name, kind in _STORAGES.items()}
_OTHER_STORAGES = {"DoubleStorage": 8, "LongStorage": 8, "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1,
                   "ByteStorage": 1, "BoolStorage": 1}  # fmt: skip
_HARMLESS = {
    ("argparse", "Namespace"),
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("torch", "Size"),
    ("torch", "device"),
    *(("torch", kind) for kind in ("float32", "float16", "bfloat16", "float64", "int64")),
}
"""What is there beside tensors in files of trainings; of each an object is made that does nothing."""


class RefusedError(pickle.UnpicklingError):
    """A pickle that could be read, and that says something that is not wanted."""


class Inert:
    """Stands for an object that is of no use here."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


@dataclass(frozen=True)
class StorageType:
    """The type of the numbers of a storage."""

    kind: Kind | None
    """None: one that weights never have."""
    item_bytes: int


@dataclass(frozen=True)
class Storage:
    """Numbers one after the other, by the key under which the file has them."""

    key: str
    type: StorageType
    numel: int


@dataclass(frozen=True)
class Noted:
    """A tensor of the pickle."""

    storage: Storage
    offset: int
    """Of its first number in the storage."""
    shape: Shape

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its storage."""
        count = 1
        for size in self.shape:
            count *= size
        return self.offset == 0 and count == self.storage.numel


def load_pickle(file: BinaryIO) -> Any:
    """The object that a pickle describes, with `Noted` for its tensors.

    Raises:
        pickle.UnpicklingError: it names something that is not in the table, or is no pickle of tensors.
    """
    try:
        return _Reader(file, encoding="utf-8").load()
    except RefusedError:
        raise
    except Exception as error:  # whatever a made-up program of the pickle machine may run into
        raise pickle.UnpicklingError(f"it is no pickle of tensors ({type(error).__name__}: {error})") from error


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        if module == "torch" and name in _STORAGES:
            return StorageType(_STORAGES[name], 4 if name == "FloatStorage" else 2)
        if module == "torch" and name in _OTHER_STORAGES:
            return StorageType(None, _OTHER_STORAGES[name])
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _noted
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _first
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) in _HARMLESS:
            return Inert
        raise RefusedError(
            f"it wants to call {module}.{name}, which has no place in a file of weights and may be an attack"
        )

    def persistent_load(self, pid: Any, /) -> Storage:
        word, kind, key, _place, numel, *rest = pid
        if word != "storage" or not isinstance(kind, StorageType) or type(numel) is not int or any(rest):
            raise RefusedError(f"a storage of an unknown form: {pid!r}")
        return Storage(str(key), kind, numel)


def _noted(storage: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Noted:
    expected: list[int] = []
    count = 1
    for rows in reversed(size):
        expected.insert(0, count)
        count *= rows
    if any(rows > 1 and step != right for rows, step, right in zip(size, stride, expected, strict=True)):
        raise RefusedError(f"a tensor {list(size)} that does not lie row by row: save it as .contiguous()")
    if offset < 0 or min(size, default=1) < 0 or offset + count > storage.numel:
        raise RefusedError(f"a tensor {list(size)} that leaves its storage of {storage.numel:,} numbers")
    return Noted(storage, offset, tuple(size))


def _first(value: Any, *_: Any) -> Any:
    return value


def dump_pickle(tree: Mapping[str, Any]) -> bytes:
    """The pickle of nested dicts of numbers and `Noted`, as `torch.load` reads it."""
    return b"\x80\x02" + _value(tree) + b"."


def storage_of(key: str, kind: Kind, numel: int) -> Storage:
    """A storage that is written."""
    return Storage(key, StorageType(kind, 4 if kind == "float32" else 2), numel)


def _value(value: Any) -> bytes:
    if isinstance(value, Mapping):
        return b"}(" + b"".join(_text(key) + _value(item) for key, item in value.items()) + b"u"
    if isinstance(value, Noted):
        strides, count = b"", 1
        for size in reversed(value.shape):
            strides, count = _number(count) + strides, count * size
        assert value.storage.type.kind is not None
        storage = b"(" + _text("storage") + _name("torch", _STORAGE_OF[value.storage.type.kind])
        storage += _text(value.storage.key) + _text("cpu") + _number(value.storage.numel) + b"tQ"
        shape = b"(" + b"".join(map(_number, value.shape)) + b"t"
        hooks = _name("collections", "OrderedDict") + b")R"
        rebuild = _name("torch._utils", "_rebuild_tensor_v2")
        return rebuild + b"(" + storage + _number(value.offset) + shape + b"(" + strides + b"t\x89" + hooks + b"tR"
    return _number(value)


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def _number(value: int) -> bytes:
    data = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def _name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()
