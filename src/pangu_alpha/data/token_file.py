"""Token files: the Megatron `.bin`/`.idx` layout, and a `.json` beside them that says what the ids mean.

`PREFIX.bin`: token ids back to back, uint16 or int32, little-endian. Each document ends with the end-of-document id.
`PREFIX.idx`: Megatron's index, version 1: magic `MMIDIDX\\0\\0`, u64 version, u8 type code, u64 number of sequences,
u64 length of the document index, then int32 sequence lengths, int64 byte offsets, int64 document index. A sequence is
one document, so the document index is 0, 1, … n.
`PREFIX.json`: `TokenFileInfo` and a checksum over it. It is written last, so that a file without it is not complete.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pangu_alpha.errors import DataError
from pangu_alpha.reading import read_json

MAGIC = b"MMIDIDX\x00\x00"
HEADER = struct.Struct("<9sQBQQ")
TYPE_CODES = {"uint16": 8, "int32": 4}
MAX_UINT16_VOCAB = 1 << 16
"""Largest vocabulary whose ids are stored in 2 bytes."""
FULL_CHECK_BYTES = 256 << 20
"""Files up to this size are checked completely when they are opened (0.3 s); of larger ones, samples are."""

_SAMPLED_BLOCKS = 256
_BLOCK = 1 << 22


class TokenFileInfo(BaseModel):
    """The contents of `PREFIX.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    format: Literal["pangu-alpha tokens"] = "pangu-alpha tokens"
    version: Literal[1] = 1
    dtype: Literal["uint16", "int32"]
    """Type of an id in `.bin`: uint16 when the vocabulary has at most 65,536 ids."""
    num_tokens: int = Field(ge=2)
    """All ids in `.bin`, the end-of-document ids included."""
    num_documents: int = Field(ge=1)
    """Documents, each ended by `eod_id`."""
    num_empty_documents: int = Field(ge=0)
    """Documents of the input that had no token and were left out."""
    vocab_size: int = Field(ge=2)
    """Every id is below it."""
    pad_id: int = Field(ge=0)
    """Fills the last sample; never occurs in the file."""
    eod_id: int = Field(ge=0)
    """Last token of each document; occurs nowhere else."""
    codec: str
    """Kind of tokenizer."""
    tokenizer_fingerprint: str
    """Identifies the tokenizer exactly."""
    bin_sha256: str
    """Checksum of `.bin`."""
    idx_sha256: str
    """Checksum of `.idx`."""


@dataclass(frozen=True)
class TokenFile:
    """An open token file. The ids stay on disk and are read as they are used."""

    prefix: Path
    """Path without ending."""
    info: TokenFileInfo
    tokens: NDArray[np.uint16] | NDArray[np.int32]
    """[num_tokens], memory-mapped, read-only."""

    @property
    def num_bytes(self) -> int:
        """Bytes of `.bin` and `.idx` together."""
        return self.tokens.nbytes + _index_bytes(self.info.num_documents)

    def verify(self, advance: Callable[[float], None]) -> None:
        """Check every byte: checksums of `.bin` and `.idx`, the range of the ids, one end-of-document id a document.

        Args:
            advance: called with the number of bytes checked since the last call.

        Raises:
            DataError: a file differs from what was written.
        """
        for ending, expected in ((".idx", self.info.idx_sha256), (".bin", self.info.bin_sha256)):
            path = with_ending(self.prefix, ending)
            if file_sha256(path, advance) != expected:
                raise DataError(f"{path}: the contents changed since it was written (wrong checksum). {_AGAIN}")
        num_ends = 0
        for start in range(0, self.info.num_tokens, _BLOCK):
            block = self.tokens[start : start + _BLOCK]
            _check_range(self, block, start)
            num_ends += int(np.count_nonzero(block == self.info.eod_id))
        if num_ends != self.info.num_documents:
            raise DataError(
                f"{self.prefix}.bin: {num_ends:,} end-of-document ids ({self.info.eod_id}) "
                f"for {self.info.num_documents:,} documents. {_AGAIN}"
            )


def open_token_file(prefix: Path) -> TokenFile:
    """Open the token file `prefix` (a path without ending) and check it.

    Sizes, header and description are always checked. The checksums and the range of all ids are checked when `.bin` and
    `.idx` together have at most `FULL_CHECK_BYTES`; otherwise the ids of evenly spread blocks are.

    Raises:
        DataError: a file is missing, truncated, damaged, of another kind, or holds an id outside its vocabulary.
    """
    info = _read_info(prefix)
    bin_path, idx_path = with_ending(prefix, ".bin"), with_ending(prefix, ".idx")
    bin_bytes = info.num_tokens * np.dtype(info.dtype).itemsize
    _check_size(bin_path, bin_bytes, f"{info.num_tokens:,} ids of {info.dtype}")
    _check_size(idx_path, _index_bytes(info.num_documents), f"{info.num_documents:,} documents")
    try:
        _check_header(idx_path, info)
        # A plain array: slicing numpy's memmap class costs ten times as much.
        tokens = np.asarray(np.memmap(bin_path, dtype=np.dtype(info.dtype).newbyteorder("<"), mode="r"))
        file = TokenFile(prefix, info, tokens)
        if file.num_bytes <= FULL_CHECK_BYTES:
            file.verify(lambda _: None)
        else:
            _check_sampled(file)
    except OSError as error:
        raise DataError(f"{prefix}: cannot be read: {error.strerror}") from error
    if tokens[-1] != info.eod_id:
        raise DataError(f"{bin_path}: the last id is {tokens[-1]}, not the end of a document ({info.eod_id}). {_AGAIN}")
    return file


def with_ending(prefix: Path, ending: str) -> Path:
    """`prefix` with `ending` added; a dot inside the name of the prefix stays."""
    return prefix.with_name(prefix.name + ending)


def file_sha256(path: Path, advance: Callable[[float], None]) -> str:
    """SHA-256 of a file in hexadecimal; `advance` is called with the bytes read since the last call."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_BLOCK):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def info_to_json(info: TokenFileInfo) -> str:
    """The text of `PREFIX.json`."""
    fields = info.model_dump()
    return json.dumps({**fields, "checksum": _info_checksum(fields)}, indent=2, ensure_ascii=False) + "\n"


_AGAIN = "Pack the text again: pangu data pack"


def _info_checksum(fields: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _read_info(prefix: Path) -> TokenFileInfo:
    path = with_ending(prefix, ".json")
    if not path.exists():
        raise DataError(
            f"{path}: no such file, so {prefix} is no complete token file of `pangu data pack`"
            + (". Give the path without its ending" if prefix.suffix in (".bin", ".idx", ".json") else "")
        )
    try:
        fields = read_json(path)
        checksum = fields.pop("checksum")
        info = TokenFileInfo.model_validate(fields, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}. {_AGAIN}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}. {_AGAIN}") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(f"{path}: not the description of a token file. {_AGAIN}") from error
    if checksum != _info_checksum(fields):
        raise DataError(f"{path}: changed since it was written (wrong checksum). {_AGAIN}")
    return info


def _index_bytes(num_documents: int) -> int:
    return HEADER.size + 12 * num_documents + 8 * (num_documents + 1)


def _check_size(path: Path, expected: int, meaning: str) -> None:
    if not path.is_file():
        raise DataError(f"{path}: no such file. {_AGAIN}")
    size = path.stat().st_size
    if size != expected:
        state = "truncated" if size < expected else "too long"
        raise DataError(f"{path}: {size:,} bytes where {meaning} take {expected:,}: the file is {state}. {_AGAIN}")


def _check_header(path: Path, info: TokenFileInfo) -> None:
    with path.open("rb") as file:
        found = HEADER.unpack(file.read(HEADER.size))
    expected = (MAGIC, 1, TYPE_CODES[info.dtype], info.num_documents, info.num_documents + 1)
    names = ("magic", "version", "type code", "number of sequences", "length of the document index")
    for name, value, wanted in zip(names, found, expected, strict=True):
        if value != wanted:
            raise DataError(f"{path}: {name} {value!r} where {wanted!r} belongs. {_AGAIN}")


def _check_sampled(file: TokenFile) -> None:
    length = 1 << 12
    for start in np.linspace(0, file.info.num_tokens - length, _SAMPLED_BLOCKS, dtype=np.int64):
        _check_range(file, file.tokens[start : start + length], int(start))


def _check_range(file: TokenFile, block: NDArray[np.uint16] | NDArray[np.int32], start: int) -> None:
    low, high = int(block.min()), int(block.max())
    if low < 0 or high >= file.info.vocab_size:
        bad = low if low < 0 else high
        position = start + int(np.argmax(block == bad))
        raise DataError(
            f"{file.prefix}.bin: id {bad} at token {position:,} is outside the vocabulary of {file.info.vocab_size:,}. "
            f"{_AGAIN}"
        )
