"""The input as pieces of work: a function of the files, their sizes and the recipe, not of who works on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pangu_alpha.errors import ConfigError, DataError
from pangu_alpha.files import texts_below
from pangu_alpha.reading import open_file

ENDINGS = {
    ".jsonl": "lines",
    ".jsonl.gz": "lines",
    ".jsonl.zst": "lines",
    ".txt": "text",
    ".html": "html",
    ".htm": "html",
    ".warc": "warc",
    ".warc.gz": "warc",
    ".warc.zst": "warc",
    ".wet": "warc",
    ".wet.gz": "warc",
    ".parquet": "parquet",
}
"""The formats that are read, by the ending of a file's name."""


@dataclass(frozen=True)
class Span:
    """A part of a file: bytes `start` to `stop` of lines, row groups `start` to `stop` of Parquet, else all of it."""

    path: Path
    format: str
    start: int
    stop: int
    num_bytes: int
    """That it has on the disk, to tell progress."""


@dataclass(frozen=True)
class Piece:
    """A unit of work: parts of files of one source."""

    number: int
    """In the order of sources and files: what is in an earlier piece is kept when a later one holds it, too."""
    source: str
    spans: tuple[Span, ...]

    @property
    def num_bytes(self) -> int:
        """That it has on the disk."""
        return sum(span.num_bytes for span in self.spans)


def format_of(path: Path) -> str | None:
    """The format that the name of a file says; None for one that is not read."""
    name = path.name.lower()
    return next((kind for ending, kind in ENDINGS.items() if name.endswith(ending)), None)


def parse_inputs(words: Sequence[str], sources: Sequence[str]) -> list[tuple[str, Path]]:
    """What `--input` says: PATH, or SOURCE=PATH for one of several sources.

    Raises:
        ConfigError: a source that the recipe has not, or no source where it has several.
    """
    found = []
    for word in words:
        source, equals, rest = word.partition("=")
        if equals and source in sources:
            found.append((source, Path(rest)))
        elif len(sources) == 1:
            found.append((sources[0], Path(word)))
        elif equals and not Path(word).exists():
            raise ConfigError(f"--input {word}: the recipe has no source {source!r}. It has {', '.join(sources)}")
        else:
            example = f"--input {sources[-1]}={word}"
            raise ConfigError(
                f"--input {word}: say of which source it is, for example {example}. Sources: {', '.join(sources)}"
            )
    return found


def plan_pieces(inputs: Sequence[tuple[str, Path]], sources: Sequence[str], piece_bytes: int) -> list[Piece]:
    """Cut the input into pieces of about `piece_bytes`, in the order of `sources` and of the files.

    Raises:
        DataError: a path does not exist, has an unknown ending, or is a folder without a file that is read; no file
            has a byte.
    """
    pieces: list[Piece] = []
    for source in sources:
        waiting: list[Span] = []
        num_bytes = 0
        for name, path in inputs:
            for span in _spans(path, piece_bytes) if name == source else ():
                if waiting and num_bytes + span.num_bytes > piece_bytes:
                    pieces.append(Piece(len(pieces), source, tuple(waiting)))
                    waiting, num_bytes = [], 0
                waiting.append(span)
                num_bytes += span.num_bytes
        if waiting:
            pieces.append(Piece(len(pieces), source, tuple(waiting)))
    if not any(piece.num_bytes for piece in pieces):
        names = ", ".join(str(path) for _, path in inputs)
        raise DataError(f"there is nothing to read: no byte in {names}")
    return pieces


def _spans(path: Path, piece_bytes: int) -> Iterator[Span]:
    for file in _files(path):
        kind = format_of(file)
        if kind is None:
            raise DataError(f"{file}: unknown kind of file. Files that are read end in {', '.join(ENDINGS)}")
        try:
            size = file.stat().st_size
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror}") from error
        if kind == "parquet":
            yield from _row_groups(file, size, piece_bytes)
        elif file.name.lower().endswith(".jsonl"):
            for start in range(0, size, piece_bytes):
                stop = min(start + piece_bytes, size)
                yield Span(file, kind, start, stop, stop - start)
        elif size or kind in ("text", "html"):  # a document, if an empty one
            yield Span(file, kind, 0, size, size)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    if not path.is_dir():
        return [path.absolute()]
    try:
        files = [file.absolute() for file in texts_below(path, format_of)]
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}. Make it readable") from error
    if not files:
        raise DataError(f"{path}: nothing to read in this folder. Files that are read end in {', '.join(ENDINGS)}")
    return files


def _row_groups(file: Path, size: int, piece_bytes: int) -> Iterator[Span]:
    import pyarrow.parquet
    from pyarrow import ArrowException

    try:
        with open_file(file) as stream:
            metadata = pyarrow.parquet.read_metadata(stream)
    except (OSError, ArrowException) as error:
        if isinstance(error, OSError) and error.errno:
            raise DataError(f"{file}: cannot be read: {error.strerror}") from error
        yield Span(file, "parquet", 0, 0, size)  # damaged: the ledger will say so
        return
    start = waiting = 0
    num_groups = metadata.num_row_groups
    for group in range(num_groups):
        waiting += metadata.row_group(group).total_byte_size
        if waiting >= piece_bytes or group == num_groups - 1:
            yield Span(file, "parquet", start, group + 1, size * (group + 1 - start) // num_groups)
            start, waiting = group + 1, 0
