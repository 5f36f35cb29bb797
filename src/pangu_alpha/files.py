"""Files that nobody sees half-written, and the folder of what can be made again."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

ASIDE = ".part"
"""In the name of every file and folder that is being written; such names are hidden, and no two are alike."""


SEAL = "checksums.json"
"""What says of a folder which files it must hold."""


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """What is written to the yielded path, a file or a folder, becomes `path` at the end, or is removed on an error.

    The yielded path is beside `path`, has its ending, and is in use by nobody else.
    """
    aside = aside_of(path)
    try:
        yield aside
        aside.replace(path)
    finally:
        remove(aside)


def aside_of(path: Path) -> Path:
    """A name beside `path`, with its ending, that nobody else uses."""
    return path.with_name(f".{path.stem}.{os.getpid()}_{uuid4().hex[:8]}{ASIDE}{path.suffix}")


def remove(path: Path) -> None:
    """Remove a file or a folder; that there is none is well, too."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes have left of writing `path`. Only who holds its lock may call it."""
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}.*{ASIDE}{glob.escape(path.suffix)}"):
        remove(leftover)


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file, or leave the one that is there."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def flush(path: Path) -> None:
    """Make sure that the file or folder `path` is on the disk, not only in the system's memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def seal(folder: Path, note: str) -> None:
    """Write the checksums of all files below `folder`, and `note`, so that `is_sealed` can tell whether it is whole."""
    checksums = {}
    for path in files_below(folder):
        flush(path)
        checksums[path.relative_to(folder).as_posix()] = file_sha256(path)
    write_text(folder / SEAL, json.dumps({"note": note, "files": checksums}, indent=1, ensure_ascii=False))


def is_sealed(folder: Path, note: str) -> bool:
    """Whether all files that `folder` held when `seal` was called with this `note` are still as they were."""
    try:
        sealed = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        return sealed["note"] == note and all(
            file_sha256(folder / name) == checksum for name, checksum in sealed["files"].items()
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False


def cache_folder() -> Path:
    """Where things are kept that can be made again: below ~/.cache, or below XDG_CACHE_HOME."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pangu_alpha"


def files_below(folder: Path, with_hidden: bool = True) -> Iterator[Path]:
    """Every file in `folder` and below it, sorted; folders that are links are followed, but not back to where they are.

    Args:
        folder: to look in.
        with_hidden: whether what has a name that begins with a dot counts; otherwise nothing of it is looked at.

    Raises:
        OSError: a folder cannot be read, a link leads nowhere, or something is no file.
    """
    yield from _files_below(folder, with_hidden, frozenset())


def texts_below(folder: Path, is_text: Callable[[Path], object]) -> Iterator[Path]:
    """Those of `files_below` whose names `is_text` takes, without hidden ones, and each file once, however many links
    lead to it or to its folder: what is read twice is learnt twice."""
    seen: set[Path] = set()
    for file in filter(is_text, files_below(folder, with_hidden=False)):
        place = file.resolve()
        if place not in seen:
            seen.add(place)
            yield file


def _files_below(folder: Path, with_hidden: bool, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    try:
        status, entries = folder.stat(), sorted(folder.iterdir())
    except FileNotFoundError:
        if above:
            return  # removed since it was listed
        raise
    identity = (status.st_dev, status.st_ino)
    if identity in above:  # a link to a folder that holds it
        return
    for entry in entries:
        if not with_hidden and entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files_below(entry, with_hidden, above | {identity})
        elif entry.is_file():
            yield entry
        elif entry.is_symlink():
            raise FileNotFoundError(errno.ENOENT, "a link that leads nowhere", str(entry))
        elif entry.exists():  # nobody has taken it away meanwhile
            raise OSError(errno.EINVAL, "a pipe, a socket or a device, which holds no text; move it away", str(entry))
