"""Documents as they are stored: bytes and what is said of them, one at a time, none larger than the limit in memory.

What cannot be a document comes out, too, with its problem: the ledger names it.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import zstandard

from pangu_alpha.corpus.sources.pieces import Piece, Span
from pangu_alpha.reading import open_file

_BLOCK = 1 << 20
_DAMAGE = (OSError, EOFError, zlib.error, zstandard.ZstdError)
"""What decompressors raise."""
_METHODS = {".gz": "gzip", ".zst": "zstd"}
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""What such a text begins with: its line ends are other bytes."""


@dataclass(frozen=True)
class Stored:
    """A document as it is stored."""

    file: str
    offset: int
    """Byte of the line or record in the file (after decompression for `.gz` and `.zst` lines), or row of Parquet."""
    format: str
    """`json`, `text` or `html`."""
    data: bytes = b""
    charset: str = ""
    """That the server or archive has declared; "" when none."""
    problem: str = ""
    """Why there is no data: the name that the ledger gives as `dropped_by`."""


def read_piece(piece: Piece, max_bytes: int, fields: Sequence[str]) -> Iterator[Stored]:
    """The stored documents of a piece, in order.

    Args:
        piece: what to read.
        max_bytes: of a document; a larger one comes out with the problem `too_large`.
        fields: columns of a Parquet file that make the text.

    Raises:
        OSError: a file cannot be opened or the disk fails. Damage inside a file comes out as a document with a problem.
    """
    for span in piece.spans:
        if span.format == "lines":
            yield from _lines(span, max_bytes)
        elif span.format == "warc":
            yield from _warc(span, max_bytes)
        elif span.format == "parquet":
            yield from _parquet(span, max_bytes, fields)
        elif span.num_bytes > max_bytes:
            yield Stored(_name(span), 0, span.format, problem="too_large")
        else:
            with open_file(span.path) as file:
                yield Stored(_name(span), 0, span.format, file.read())


def _name(span: Span) -> str:
    """The file's name in characters: what is not UTF-8 in it is escaped."""
    return str(span.path).encode(errors="backslashreplace").decode()


def _lines(span: Span, max_bytes: int) -> Iterator[Stored]:
    with open_file(span.path) as file:
        if span.path.name.lower().endswith(".jsonl"):
            if file.read(2) in _UTF_16:
                yield from [Stored(_name(span), 0, "json", problem="utf_16")][span.start :]
                return
            file.seek(max(0, span.start - 1))
            # A line that has begun before belongs to the span before.
            at = span.start - 1 + _skip_line(file) if span.start else 0
            yield from _split_lines(_name(span), file, at, span.stop, max_bytes)
            return
        import pyarrow

        stream = pyarrow.CompressedInputStream(pyarrow.PythonFile(file, mode="r"), _METHODS[span.path.suffix.lower()])
        buffer = io.BufferedReader(stream, _BLOCK)
        for stored in _split_lines(_name(span), buffer, 0, None, max_bytes):
            if stored.problem == "damaged_file":
                yield from _until_damage(span, stored.offset, max_bytes)
            else:
                yield stored


def _until_damage(span: Span, start: int, max_bytes: int) -> Iterator[Stored]:
    """What a damaged compressed file still has from the line at byte `start` on, and then the damage.

    The decompressor that knows a cut-off file from a whole one keeps a block for itself when it meets the damage.
    """
    at = 0
    with open_file(span.path) as file:
        stream: Any = gzip.GzipFile(fileobj=file)
        if span.path.suffix.lower() == ".zst":
            stream = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True))
        try:
            while start > at and (skipped := len(stream.read(min(start - at, _BLOCK)))):
                at += skipped
        except _DAMAGE:
            yield Stored(_name(span), start, "json", problem="damaged_file")
            return
        yield from _split_lines(_name(span), stream, start, None, max_bytes, is_damaged=True)


def _split_lines(
    path: str, stream: Any, at: int, stop: int | None, max_bytes: int, is_damaged: bool = False
) -> Iterator[Stored]:
    """The lines from byte `at`, where `stream` is, that begin before `stop`.

    Args:
        path: of the file.
        stream: its bytes.
        at: a line begins there.
        stop: None: to the end.
        max_bytes: of a line.
        is_damaged: whether the end is none: a last line that is not ended is cut off.
    """
    while stop is None or at < stop:
        try:
            line = stream.readline(max_bytes + 1)
            extra = 0 if len(line) <= max_bytes or line.endswith(b"\n") else _skip_line(stream)
            if is_damaged and not extra and not line.endswith(b"\n"):
                raise EOFError
        except _DAMAGE:  # what follows cannot be read
            yield Stored(path, at, "json", problem="damaged_file")
            return
        if not line:
            return
        if at == 0 and line[:2] in _UTF_16:
            yield Stored(path, 0, "json", problem="utf_16")
            return
        if extra or len(line) > max_bytes:
            yield Stored(path, at, "json", problem="too_large")
        elif line.strip() and line.strip() != b"\xef\xbb\xbf":
            yield Stored(path, at, "json", line)
        at += len(line) + extra


def _skip_line(stream: BinaryIO) -> int:
    """Read to the end of the line; the number of bytes."""
    skipped = 0
    while part := stream.readline(_BLOCK):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped


def _warc(span: Span, max_bytes: int) -> Iterator[Stored]:
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    wanted = WarcRecordType.response | WarcRecordType.resource | WarcRecordType.conversion
    at = 0
    with open_file(span.path) as file:
        try:
            for record in ArchiveIterator(file, record_types=wanted, parse_http=True, auto_decode="none"):
                at = record.stream_pos
                yield _record(_name(span), record, max_bytes)
        except (OSError, ValueError):
            yield Stored(_name(span), at, "html", problem="damaged_file")


def _record(path: str, record: Any, max_bytes: int) -> Stored:
    at, headers = record.stream_pos, record.http_headers
    kind = (record.http_content_type if headers else record.headers.get("Content-Type", "text/plain")) or ""
    kind = kind.partition(";")[0].strip().lower()
    form = "text" if kind == "text/plain" else "html"
    if "Content-Length" not in record.headers:  # the file ends within its head
        return Stored(path, at, form, problem="damaged_file")
    if headers and headers.status_code != 200:
        return Stored(path, at, form, problem="no_page")
    if kind and kind not in ("text/html", "application/xhtml+xml", "text/plain"):
        return Stored(path, at, form, problem="no_text")
    length = record.content_length
    data = record.reader.read(max_bytes + 1)
    if len(data) < min(length, max_bytes + 1):  # the file ends within the record
        return Stored(path, at, form, problem="damaged_file")
    encoding = (headers.get("Content-Encoding", "") if headers else "").strip().lower()
    if len(data) <= max_bytes and encoding in ("gzip", "x-gzip", "deflate"):
        data = inflate(data, max_bytes + 1)
    elif encoding not in ("", "identity"):
        return Stored(path, at, form, problem="unknown_compression")
    if data is None:
        return Stored(path, at, form, problem="damaged_compression")
    if len(data) > max_bytes:
        return Stored(path, at, form, problem="too_large")
    return Stored(path, at, form, data, (record.http_charset if headers else "utf-8") or "")


def inflate(data: bytes, max_bytes: int) -> bytes | None:
    """What gzip or deflate `data` means, not more than `max_bytes` of it; None when it is damaged."""
    for window in (47, -15):  # gzip or zlib by their headers; then deflate without one, as some servers send it
        try:
            return zlib.decompressobj(window).decompress(data, max_bytes)
        except zlib.error:
            continue
    return None


def _parquet(span: Span, max_bytes: int, fields: Sequence[str]) -> Iterator[Stored]:
    import pyarrow.parquet
    from pyarrow import ArrowException

    path, at = _name(span), 0
    try:
        with open_file(span.path) as stored, pyarrow.parquet.ParquetFile(stored) as file:
            at = sum(file.metadata.row_group(group).num_rows for group in range(span.start))
            columns = [name for name in fields if name in file.schema_arrow.names]
            groups = list(range(span.start, span.stop))
            for batch in file.iter_batches(batch_size=64, row_groups=groups, columns=columns):
                for row in batch.to_pylist() if columns else [{}] * batch.num_rows:
                    yield _row(path, at, row, max_bytes)
                    at += 1
    except (OSError, ArrowException) as error:
        if isinstance(error, OSError) and error.errno:  # of the system: it may be there at the next start
            raise
        yield Stored(path, at, "text", problem="damaged_file")


def _row(path: str, at: int, row: dict[str, Any], max_bytes: int) -> Stored:
    parts = [part for part in row.values() if isinstance(part, str | bytes)]
    if not parts:
        return Stored(path, at, "text", problem="no_text_field")
    data = b"\n".join(part if isinstance(part, bytes) else part.encode(errors="replace") for part in parts)
    return Stored(path, at, "text", data) if len(data) <= max_bytes else Stored(path, at, "text", problem="too_large")
