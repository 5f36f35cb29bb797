"""Packing: text → ids → token file, streaming, with bounded memory, complete or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.data.token_file import (
    HEADER,
    MAGIC,
    MAX_UINT16_VOCAB,
    TYPE_CODES,
    TokenFileInfo,
    file_sha256,
    info_to_json,
    with_ending,
)
from pangu_alpha.errors import DataError
from pangu_alpha.files import aside_of, remove_leftovers
from pangu_alpha.locks import only_one

_BATCH_DOCUMENTS = 512
_BATCH_CHARACTERS = 1 << 20
_MAX_DOCUMENT = 2**31 - 1
_BLOCK = 1 << 20


class PackingTokenizer(Protocol):
    """What packing needs of a tokenizer."""

    @property
    def codec(self) -> str:
        """Kind of tokenizer."""

    @property
    def vocab_size(self) -> int:
        """Every id is below it."""

    @property
    def pad_id(self) -> int:
        """Id that fills samples; never the result of text."""

    @property
    def eod_id(self) -> int:
        """Id that ends a document; never the result of text."""

    @property
    def fingerprint(self) -> str:
        """Identifies the tokenizer exactly."""

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text, without special ids."""


def pack(documents: Iterable[str], tokenizer: PackingTokenizer, prefix: Path) -> TokenFileInfo:
    """Write the token file `prefix` from `documents`, in their order, an end-of-document id after each.

    Documents without a token are left out and counted. An existing file of that name is replaced at the end.

    Raises:
        DataError: there is no document with text, a document has 2³¹ tokens or more, the tokenizer gives an id that it
            should not, or the disk refuses.
    """
    with TokenWriter(prefix, tokenizer) as writer:
        for texts in _batches(documents):
            writer.add(tokenizer.encode_batch(texts))
        return writer.finish()


class TokenWriter:
    """Writes one token file aside; `finish` gives it its name. Leaving the `with` block without `finish` removes it."""

    def __init__(self, prefix: Path, tokenizer: PackingTokenizer) -> None:
        self._prefix, self._tokenizer = prefix, tokenizer
        self._dtype = "uint16" if tokenizer.vocab_size <= MAX_UINT16_VOCAB else "int32"
        self._num_tokens = self._num_documents = self._num_empty = 0
        self._digest = hashlib.sha256()
        self._open = ExitStack()
        try:
            prefix.parent.mkdir(parents=True, exist_ok=True)
            lock = prefix.with_name(f".{prefix.name}.lock")
            self._open.enter_context(only_one(lock, f"the token file {prefix}", "choose another --output"))
            self._parts = {ending: aside_of(with_ending(prefix, ending)) for ending in (".bin", ".idx", ".json")}
            for ending, part in self._parts.items():
                remove_leftovers(with_ending(prefix, ending))
                self._open.callback(part.unlink, missing_ok=True)
            self._bin = self._open.enter_context(self._parts[".bin"].open("wb"))
            self._idx = self._open.enter_context(self._parts[".idx"].open("w+b"))
        except OSError as error:
            self._open.close()
            raise DataError(f"{prefix}: cannot be written: {error.strerror}") from error
        self._idx.write(bytes(HEADER.size))

    def __enter__(self) -> TokenWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def add(self, documents: Sequence[Sequence[int]]) -> None:
        """Append documents, given as their ids without the end-of-document id.

        Raises:
            DataError: see `pack`.
        """
        full = [ids for ids in documents if len(ids)]
        self._num_empty += len(documents) - len(full)
        lengths = np.fromiter((len(ids) + 1 for ids in full), np.int64, len(full))
        if not full:
            return
        if lengths.max() > _MAX_DOCUMENT:
            raise DataError(f"a document has {lengths.max():,} tokens; at most {_MAX_DOCUMENT:,} fit. Split it")
        end = (self._tokenizer.eod_id,)
        ids = np.fromiter(chain.from_iterable(chain(document, end) for document in full), np.int64, lengths.sum())
        self._check_ids(ids, lengths)
        data = ids.astype(np.dtype(self._dtype).newbyteorder("<")).tobytes()
        try:
            self._bin.write(data)
            self._idx.write(lengths.astype("<i4").tobytes())
        except OSError as error:
            raise self._refused(error) from error
        self._digest.update(data)
        self._num_tokens += len(ids)
        self._num_documents += len(full)

    def finish(self) -> TokenFileInfo:
        """Complete the three files and give them their names, the description last."""
        if not self._num_documents:
            raise DataError(
                f"{self._prefix}: nothing to pack: the input has no document with text ({self._num_empty:,} empty ones)"
            )
        tokenizer = self._tokenizer
        try:
            info = TokenFileInfo(
                dtype=self._dtype,  # type: ignore[arg-type]
                num_tokens=self._num_tokens,
                num_documents=self._num_documents,
                num_empty_documents=self._num_empty,
                vocab_size=tokenizer.vocab_size,
                pad_id=tokenizer.pad_id,
                eod_id=tokenizer.eod_id,
                codec=tokenizer.codec,
                tokenizer_fingerprint=tokenizer.fingerprint,
                bin_sha256=self._digest.hexdigest(),
                idx_sha256=self._finish_index(),
            )
            self._parts[".json"].write_text(info_to_json(info), encoding="utf-8")
            self._publish()
        except OSError as error:
            raise self._refused(error) from error
        return info

    def _check_ids(self, ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        tokenizer = self._tokenizer
        wrong = (ids < 0) | (ids >= tokenizer.vocab_size) | (ids == tokenizer.pad_id)
        inside = ids == tokenizer.eod_id
        inside[np.cumsum(lengths) - 1] = False
        positions = np.flatnonzero(wrong | inside)
        if positions.size:
            document = self._num_documents + int(np.searchsorted(np.cumsum(lengths), positions[0], side="right"))
            raise DataError(
                f"document {document:,} (counted from 0, empty ones left out): the tokenizer gave the id "
                f"{ids[positions[0]]}, which is outside its vocabulary of {tokenizer.vocab_size:,} or marks padding "
                f"({tokenizer.pad_id}) or the end of a document ({tokenizer.eod_id}). Use another tokenizer"
            )

    def _finish_index(self) -> str:
        # The lengths are already in the file; offsets and document index follow from them, a block at a time.
        index = self._idx
        counts = (self._num_documents, self._num_documents + 1)
        index.seek(0)
        index.write(HEADER.pack(MAGIC, 1, TYPE_CODES[self._dtype], *counts))
        itemsize, offset = np.dtype(self._dtype).itemsize, 0
        for start in range(0, self._num_documents, _BLOCK):
            index.seek(HEADER.size + 4 * start)
            lengths = np.frombuffer(index.read(4 * min(_BLOCK, self._num_documents - start)), "<i4").astype(np.int64)
            ends = offset + itemsize * np.cumsum(lengths)
            index.seek(0, os.SEEK_END)
            index.write((ends - itemsize * lengths).astype("<i8").tobytes())
            offset = int(ends[-1])
        for start in range(0, self._num_documents + 1, _BLOCK):
            index.write(np.arange(start, min(start + _BLOCK, self._num_documents + 1), dtype="<i8").tobytes())
        index.flush()
        return file_sha256(self._parts[".idx"], lambda _: None)

    def _publish(self) -> None:
        for file in (self._bin, self._idx):
            file.flush()
            os.fsync(file.fileno())
        # Without its description an older file of this name is not readable any more, so no mixture ever is.
        with_ending(self._prefix, ".json").unlink(missing_ok=True)
        for ending, part in self._parts.items():
            part.replace(with_ending(self._prefix, ending))

    def _refused(self, error: OSError) -> DataError:
        return DataError(f"{self._prefix}: cannot be written: {error.strerror}")


def _batches(documents: Iterable[str]) -> Iterator[list[str]]:
    texts: list[str] = []
    num_characters = 0
    for text in documents:
        texts.append(text)
        num_characters += len(text)
        if len(texts) == _BATCH_DOCUMENTS or num_characters >= _BATCH_CHARACTERS:
            yield texts
            texts, num_characters = [], 0
    if texts:
        yield texts
