"""Files of safetensors: a head in JSON that says where each tensor is, then their numbers."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pangu_alpha.convert.stored import DTYPES, Array, Kind, Stored, as_kind, num_bytes
from pangu_alpha.errors import CheckpointError, DamagedError
from pangu_alpha.parallel.parameters import Shape
from pangu_alpha.reading import open_file
from pangu_alpha.reading.strict_json import parse_json

_KINDS: Mapping[str, Kind] = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_WORDS: Mapping[Kind, str] = {kind: word for word, kind in _KINDS.items()}
_MAX_HEAD = 100_000_000
"""The format's own limit."""


def read_safetensors(path: Path) -> dict[str, Stored]:
    """The tensors of floating-point numbers in a file, by name; others are left out.

    Raises:
        DamagedError: it is no such file, or is cut off.
        CheckpointError: it cannot be read now.
    """
    found: dict[str, Stored] = {}
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if length > min(_MAX_HEAD, size - 8):
                raise ValueError(f"a head of {length:,} bytes in a file of {size:,}")
            head = parse_json(file.read(length).decode())
        if not isinstance(head, dict):
            raise ValueError("its head is no object")
        head.pop("__metadata__", None)
        place = 0
        for name, item in sorted(head.items(), key=lambda entry: entry[1]["data_offsets"]):
            begin, end = item["data_offsets"]
            if begin != place or end > size - 8 - length:
                raise ValueError(f"{name} is at {begin:,} to {end:,} of {size - 8 - length:,} bytes, after {place:,}")
            place = end
            kind = _KINDS.get(item["dtype"])
            if kind is None:
                continue
            shape = tuple(map(int, item["shape"]))
            if num_bytes(shape, kind) != end - begin:
                raise ValueError(f"{name} {list(shape)} in {kind} has {end - begin:,} bytes")
            found[name] = Stored(path, kind, shape, ((8 + length + begin, end - begin),))
        if place != size - 8 - length:
            raise ValueError(f"{size - 8 - length - place:,} bytes belong to no tensor")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path} is damaged or cut off, or not a file of safetensors: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    return found


def write_safetensors(path: Path, shapes: Mapping[str, Shape], tensors: Iterable[Array], kind: Kind) -> str:
    """Write a file, one tensor at a time.

    Returns:
        Its SHA-256, in hexadecimal.

    Raises:
        OSError: the disk is full or not writable.
        CheckpointError: a number is too large for `kind`.
    """
    digest = hashlib.sha256()
    head, place = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        end = place + math.prod(shape) * DTYPES[kind].itemsize
        head[name] = {"dtype": _WORDS[kind], "shape": list(shape), "data_offsets": [place, end]}  # type: ignore[dict-item]
        place = end
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        for data in (len(text).to_bytes(8, "little"), text):
            file.write(data)
            digest.update(data)
        for name, values in zip(shapes, tensors, strict=True):
            block = as_kind(name, values, kind).data.cast("B")
            file.write(block)
            digest.update(block)
    return digest.hexdigest()
