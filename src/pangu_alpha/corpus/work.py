"""The names inside a corpus's folder, and results of tasks: folders that are there whole or not at all."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.corpus.recipe import Recipe
from pangu_alpha.corpus.sources.pieces import Piece
from pangu_alpha.errors import CorpusError
from pangu_alpha.files import flush, remove_leftovers, write_text, written_aside
from pangu_alpha.reading import read_json

ROW_BITS = 32
"""Of a document's number: the piece above, the row of the ledger in the piece below."""
MANIFEST = "manifest.json"


@dataclass(frozen=True, eq=False)
class Work:
    """What every task of a corpus is given: it fits in a message to another host that sees the same folders."""

    output: Path
    recipe: Recipe
    pieces: tuple[Piece, ...]

    def stage(self, stage: str) -> Path:
        """The folder of a stage's results."""
        return self.output / "work" / stage

    def result(self, stage: str, task: int) -> Path:
        """The folder of a task's result."""
        return self.stage(stage) / f"{task:06d}"

    def is_done(self, stage: str, task: int) -> bool:
        """Whether the task's result is there: it gets its name when it is whole."""
        return (self.result(stage, task) / MANIFEST).is_file()

    def counts(self, stage: str, task: int) -> dict[str, Any]:
        """What the task's manifest says.

        Raises:
            CorpusError: a file of the result is damaged, or has another size than when it was written.
        """
        folder = self.result(stage, task)
        try:
            manifest = read_json(folder / MANIFEST)
        except ValueError as error:
            raise CorpusError(f"{folder / MANIFEST} is damaged ({error}): remove {folder} and start again") from error
        for name, size in manifest["files"].items():
            found = (folder / name).stat().st_size if (folder / name).is_file() else None
            if found != size:
                raise CorpusError(f"{folder / name} has {found} bytes and not {size}: remove {folder} and start again")
        counts: dict[str, Any] = manifest["counts"]
        return counts

    def poison(self, task: int) -> Path:
        """The file of the documents of a piece that end the process which looks at them."""
        return self.stage("poison") / f"{task:06d}.json"

    def position(self, task: int) -> Path:
        """The file that says at which document of its piece a process is."""
        return self.stage("position") / f"{task:06d}"


def write_result(folder: Path, write: Callable[[Path], dict[str, Any]]) -> None:
    """Let `write` fill a folder that gets its name `folder` when it is on the disk; what it returns is kept in it.

    A result that is there by then is as good: a worker of a start that was killed may have lived a moment longer.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    try:
        with written_aside(folder) as aside:
            aside.mkdir()
            counts = write(aside)
            files = sorted(path for path in aside.iterdir() if path.is_file())
            for path in files:
                flush(path)
            manifest = {"counts": counts, "files": {path.name: path.stat().st_size for path in files}}
            write_text(aside / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False))
            flush(aside / MANIFEST)
            flush(aside)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not (folder / MANIFEST).is_file():
            raise
    flush(folder.parent)


def save(path: Path, array: NDArray[Any]) -> None:
    """Write an array, as `load` reads it."""
    np.save(path, array, allow_pickle=False)


def load(path: Path) -> NDArray[Any]:
    """An array that stays on the disk until its parts are looked at."""
    mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def numbers(piece: int, rows: NDArray[Any]) -> NDArray[np.uint64]:
    """The numbers of documents, from the rows of the piece's ledger."""
    return (np.uint64(piece) << np.uint64(ROW_BITS)) + rows.astype(np.uint64)


def of_piece(piece: int, sorted_numbers: NDArray[Any]) -> slice:
    """Where the documents of a piece are among numbers in order."""
    first, last = numbers(piece, np.array([0])), numbers(piece + 1, np.array([0]))
    return slice(int(np.searchsorted(sorted_numbers, first[0])), int(np.searchsorted(sorted_numbers, last[0])))
