"""Reading text: `.txt` (one document a file), `.jsonl` and `.jsonl.zst` (one document a line, in the field `text`).

What else a line says of its document, such as where it is from, comes with it.

Everything streams: of a `.jsonl` file one document is in memory at a time, of a `.txt` file the whole file. Text comes
out as it is in the file, line ends included; only a byte order mark at the start of a file is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from pangu_alpha.errors import DataError
from pangu_alpha.files import texts_below
from pangu_alpha.reading import open_file, parse_json

ENDINGS = (".txt", ".jsonl", ".jsonl.zst")
"""Kinds of file that are read; a directory stands for all of them in it and below it."""

_CHUNK = 1 << 16
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Document:
    """One text, and what its line says of it."""

    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    """All other fields of the line; none of a `.txt` file."""


def find_files(paths: Iterable[Path]) -> list[Path]:
    """The text files that `paths` mean: a directory stands for its text files, sorted, hidden ones left out.

    Links are followed; a file that several lead to is meant once.

    Raises:
        DataError: a path does not exist, has an unknown ending, or is a directory without text files; a folder in one
            cannot be read.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            try:
                inside = list(texts_below(path, _is_text))
            except OSError as error:
                raise DataError(
                    f"{error.filename}: cannot be read: {error.strerror}. Make it readable, or name "
                    "the files to read one by one"
                ) from error
            if not inside:
                raise DataError(f"{path}: no text in this directory. Files that are read end in {', '.join(ENDINGS)}")
            files += inside
        elif not path.exists():
            raise DataError(f"{path}: no such file or directory")
        elif not path.name.lower().endswith(ENDINGS):
            raise DataError(f"{path}: unknown kind of file. Files that are read end in {', '.join(ENDINGS)}")
        else:
            files.append(path)
    return files


def count_bytes(paths: Iterable[Path]) -> int:
    """Bytes on disk of the text files that `paths` mean: the total that `read_documents` reports to `advance`."""
    return sum(file.stat().st_size for file in find_files(paths))


def read_documents(paths: Iterable[Path], advance: Callable[[float], None] | None = None) -> Iterator[Document]:
    """Yield one document at a time, in the order of `paths`.

    Args:
        paths: files or directories, see `find_files`.
        advance: called with the number of bytes read from disk since the last call; `console.progress` yields such one.

    Raises:
        DataError: at once what `find_files` raises; while reading, with file and line: text that is not UTF-8 (with the
            byte offset), a line that is not JSON or has no string `text`, a damaged or truncated `.zst` file.
    """
    return _read(find_files(paths), advance or (lambda _: None))


def read_texts(paths: Iterable[Path], advance: Callable[[float], None] | None = None) -> Iterator[str]:
    """Yield the text of one document at a time; arguments and errors as `read_documents`."""
    documents = read_documents(paths, advance)
    return (document.text for document in documents)


def _is_text(path: Path) -> bool:
    return path.name.lower().endswith(ENDINGS)


def _read(files: list[Path], advance: Callable[[float], None]) -> Iterator[Document]:
    for file in files:
        try:
            if file.name.lower().endswith(".txt"):
                yield Document(_decode(b"".join(_chunks(file, advance)).removeprefix(_BOM), str(file), 0))
            elif file.name.lower().endswith(".zst"):
                yield from _json_documents(file, _decompress(file, _chunks(file, advance)))
            else:
                yield from _json_documents(file, _chunks(file, advance))
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror}") from error


def _chunks(file: Path, advance: Callable[[float], None]) -> Iterator[bytes]:
    with open_file(file) as stream:
        while chunk := stream.read(_CHUNK):
            advance(len(chunk))
            yield chunk


def _decompress(file: Path, chunks: Iterable[bytes]) -> Iterator[bytes]:
    # The library's stream reader takes a truncated file for a complete one, so the frames are followed here.
    library = zstandard.ZstdDecompressor(max_window_size=1 << 31)
    frame = library.decompressobj()
    inside = False
    for chunk in chunks:
        rest = chunk
        while rest:
            inside = True
            try:
                yield frame.decompress(rest)
            except zstandard.ZstdError as error:
                raise DataError(f"{file}: not a sound zstd file ({error}). Make it again") from error
            rest = b""
            if frame.eof:
                rest, inside = frame.unused_data, False
                frame = library.decompressobj()
    if inside:
        raise DataError(f"{file}: the zstd file ends in the middle of a frame: it is truncated. Make or copy it again")


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    # Lines without their line feed. The pieces of a long line are joined once, at its end.
    begun: list[bytes] = []
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        begun.append(first)
        for line in others:
            yield b"".join(begun)
            begun = [line]
    yield b"".join(begun)


def _json_documents(file: Path, chunks: Iterable[bytes]) -> Iterator[Document]:
    offset = 0
    for number, line in enumerate(_lines(chunks), start=1):
        place = f"{file}, line {number}"
        content = line.removeprefix(_BOM) if number == 1 else line
        if content.strip():
            yield _json_document(_decode(content, place, offset + len(line) - len(content)), place)
        offset += len(line) + 1


def _json_document(line: str, place: str) -> Document:
    try:
        entry = parse_json(line)
    except ValueError as error:
        # The library's own sentence says "line 1", which is not the line of the file.
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        raise DataError(f'{place}: not JSON ({reason}). A line is one document: {{"text": "..."}}') from error
    if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
        raise DataError(f'{place}: no text. A line is one document, a JSON object with the string field "text"')
    text: str = entry.pop("text")
    if "\\u" in line:  # Only an escape can smuggle half a surrogate pair through the UTF-8 decoder.
        try:
            text.encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(text[error.start]):04x}"
            raise DataError(
                f"{place}: the text holds {half}, half of a surrogate pair, which is no character"
            ) from error
    return Document(text, entry)


def _decode(data: bytes, place: str, offset: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{place}: not UTF-8: byte 0x{data[error.start]:02x} at offset {offset + error.start} ({error.reason}). "
            f"Convert the file, for example: iconv -f GB18030 -t UTF-8"
        ) from error
