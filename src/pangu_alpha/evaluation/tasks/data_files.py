"""The published files of a data set, as they come: plain, in a folder of their own, or in a zip."""

from __future__ import annotations

import ast
import csv
import fnmatch
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pangu_alpha.errors import DataError
from pangu_alpha.files import files_below
from pangu_alpha.reading import parse_json, read_bytes

MAX_BYTES = 2 << 30
"""Of a file or of what a zip unpacks: DuReader's training set is the largest, with some 1.5 GB."""
Record = Mapping[str, Any]


@dataclass(frozen=True)
class DataFile:
    """One file, read when it is asked for."""

    name: str
    """Path of it, and behind `!` the member of a zip."""
    path: Path
    member: str = ""

    def text(self) -> str:
        """The whole text, without a byte order mark.

        Raises:
            DataError: it cannot be read, is damaged, or is no UTF-8.
        """
        try:
            data = read_bytes(self.path, MAX_BYTES) if not self.member else self._unpack()
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.name}: not UTF-8 text (byte {error.start:,}): convert it, or get it again"
            ) from error
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError) as error:
            raise DataError(f"{self.name} cannot be unpacked ({error}): get it again") from error

    def _unpack(self) -> bytes:
        with zipfile.ZipFile(self.path) as archive:
            size = archive.getinfo(self.member).file_size
            if size > MAX_BYTES:
                raise DataError(f"{self.name} unpacks to {size:,} bytes, and no file of a data set has {MAX_BYTES:,}")
            return archive.read(self.member)

    def json(self) -> Any:
        """The file as one JSON value.

        Raises:
            DataError: it is none.
        """
        try:
            return parse_json(self.text())
        except ValueError as error:
            raise DataError(f"{self.name} is not JSON: {error}") from error

    def lines(self) -> Iterator[tuple[str, Any]]:
        """Where it stands, and the value, of each line of JSON (ChID's lines are Python literals); no empty lines.

        Raises:
            DataError: a line is neither.
        """
        for number, line in enumerate(self.text().split("\n"), start=1):
            if line.strip():
                yield f"{self.name} line {number}", _line_value(line, f"{self.name} line {number}")

    def rows(self) -> Iterator[tuple[str, Record]]:
        """Where it stands, and the columns by name, of each row of a CSV file."""
        try:
            for number, row in enumerate(csv.DictReader(io.StringIO(self.text())), start=1):
                yield f"{self.name} row {number}", row
        except csv.Error as error:
            raise DataError(f"{self.name} is not CSV ({error}): get it again") from error


class DataFolder:
    """The files of one data set: in a folder or a zip of its own, below what the user has named."""

    def __init__(self, root: Path, name: str) -> None:
        """Args:
        root: what the user has named.
        name: of the data set, as the name of its folder or zip begins: `afqmc`, `afqmc_public.zip`, `pd.zip`.

        Raises:
            DataError: there is no such folder or zip, or the zip is damaged.
        """
        if not root.is_dir():
            raise DataError(
                f"{root} is no folder: give the one that holds the data sets with --data, or to the harness with "
                "--metadata data=DIR"
            )
        # Many data sets call their file dev.json: it belongs to the one in whose folder it is.
        own = [path for path in sorted(root.iterdir()) if re.match(rf"{name}([._-]|$)", path.name.lower())]
        if not own:
            raise DataError(
                f"{root} holds nothing called {name}: put the published files of this data set, as they come, into "
                f"{root / name}, or their zip beside it as {name}.zip. docs/tasks.md says where they are published"
            )
        self._name = name
        self._places = {path: list(_files_of(path)) for path in own}

    def find(self, split: str, patterns: tuple[str, ...]) -> list[DataFile]:
        """The files of one place whose path ends like the first pattern that any of them has.

        Raises:
            DataError: there is none, or one twice: unpacked beside its zip, or in an old folder.
        """
        for pattern in patterns:
            for files in self._places.values():
                if found := [file for file in files if _matches(file, pattern)]:
                    self._require_once(found)
                    return found
        places = " and ".join(map(str, self._places))
        raise DataError(
            f"{self._name}: no file of its {split} split in {places}: it is published as {' or '.join(patterns)}"
        )

    def _require_once(self, files: Sequence[DataFile]) -> None:
        by_name: dict[str, DataFile] = {}
        for file in files:
            name = PurePosixPath(file.member or file.path.as_posix()).name
            if name in by_name:
                raise DataError(
                    f"{self._name}: its file {name} is there twice, as {by_name[name].name} and {file.name}: take one "
                    "away"
                )
            by_name[name] = file


def _files_of(place: Path) -> Iterator[DataFile]:
    for path in files_below(place, with_hidden=False) if place.is_dir() else [place]:
        if path.suffix.lower() != ".zip":
            yield DataFile(str(path), path)
            continue
        try:
            with zipfile.ZipFile(path) as archive:
                names = [info.filename for info in archive.infolist() if not info.is_dir()]
        except zipfile.BadZipFile as error:
            raise DataError(f"{path} is no whole zip ({error}): get it again") from error
        # macOS packs a shadow of each file.
        yield from (DataFile(f"{path}!{name}", path, name) for name in names if not name.startswith("__MACOSX/"))


def _matches(file: DataFile, pattern: str) -> bool:
    parts = PurePosixPath(file.member or file.path.as_posix()).parts
    wanted = pattern.split("/")
    return len(parts) >= len(wanted) and all(map(fnmatch.fnmatchcase, parts[-len(wanted) :], wanted))


def _line_value(line: str, where: str) -> Any:
    try:
        return parse_json(line)
    except ValueError as error:
        try:
            return ast.literal_eval(line)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise DataError(f"{where} is not JSON: {error}") from error


def records(files: Sequence[DataFile]) -> Iterator[tuple[str, Any]]:
    """Where it stands, and the value, of each line of JSON of the files."""
    for file in files:
        yield from file.lines()


def get(record: Any, name: str, where: str, kind: type | tuple[type, ...] = str) -> Any:
    """The value `name` of `record`.

    Raises:
        DataError: it has none, or one of another kind: the file is not in the published format.
    """
    if not isinstance(record, Mapping) or name not in record:
        has = ", ".join(map(str, record)) if isinstance(record, Mapping) else type(record).__name__
        raise DataError(f"{where} has no {name!r} (it has {has[:200]}): the file is not in the published format")
    value = record[name]
    if not isinstance(value, kind):
        wanted = kind.__name__ if isinstance(kind, type) else " or ".join(one.__name__ for one in kind)
        raise DataError(f"{where}: {name!r} is {type(value).__name__}, and in the published format it is {wanted}")
    return value


def place(value: object, of: Sequence[object], where: str) -> int:
    """Where `value` stands among the labels `of`.

    Raises:
        DataError: it is not among them.
    """
    if value not in of:
        raise DataError(f"{where}: {str(value)[:40]!r} is not one of {', '.join(map(str, of))[:200]}")
    return of.index(value)
