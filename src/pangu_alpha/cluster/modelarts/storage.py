"""Copying between this machine and where a cloud job keeps its files: an object store (`obs://`) or a folder.

An object store is reached with `moxing`, a package that only the platform's images have.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pangu_alpha.errors import ClusterError
from pangu_alpha.files import files_below, written_aside

_STORES = ("obs://", "s3://")
_UNFINISHED = (".part", ".tmp")
"""Endings of files that are still being written; a name that begins with a dot says the same."""


def list_files(url: str) -> dict[str, int]:
    """Size in bytes of every file below `url`, by its path relative to it; nothing when there is no such folder.

    Raises:
        ClusterError: `url` cannot be reached.
    """
    if not url.startswith(_STORES):
        return {path.relative_to(url).as_posix(): status.st_size for path, status in _local_files(Path(url))}
    with _reaching(url):
        files = _moxing()
        if not files.exists(url):
            return {}
        names = sorted(name for name in files.list_directory(url, recursive=True) if not name.endswith("/"))
        return {name: files.get_size(join(url, name)) for name in names if not files.is_directory(join(url, name))}


def copy_file(source: str, target: str) -> None:
    """Copy one file; the target appears whole or not at all.

    Raises:
        ClusterError: one of them cannot be reached, read or written.
        FileNotFoundError: there is no source.
    """
    with _reaching(f"{source} or {target}"):
        if not target.startswith(_STORES):
            Path(target).parent.mkdir(parents=True, exist_ok=True)
        if source.startswith(_STORES) or target.startswith(_STORES):
            _moxing().copy(source, target)
            return
        with written_aside(Path(target)) as aside:
            shutil.copyfile(source, aside)


def copy_folder(source: str, target: Path) -> int:
    """Copy all files below `source` and return their bytes.

    Raises:
        ClusterError: there is nothing to copy, or it cannot be reached, read or written.
    """
    sizes = list_files(source)
    if not sizes:
        raise ClusterError(f"{source}: no such folder, or it is empty; correct --data_url")
    if source.startswith(_STORES):
        with _reaching(source):
            _moxing().copy_parallel(src_url=source, dst_url=str(target))
    else:
        for name in sizes:
            copy_file(join(source, name), join(str(target), name))
    return sum(sizes.values())


class Mirror:
    """Keeps a folder of an object store like a local one, as far as that one grows. It removes nothing there."""

    def __init__(self, local: Path, remote: str, folders: tuple[str, ...] | None) -> None:
        """Find out what is there already.

        Args:
            local: what is copied.
            remote: where to.
            folders: copy only what is in these folders of `local`; None: everything.
        """
        self._local, self._remote, self._folders = local, remote, folders
        there = list_files(remote)
        # Files that were fetched from there, or copied there by an earlier attempt.
        self._copied = {name: stamp for name, stamp in self._stamps().items() if there.get(name) == stamp[0]}

    def update(self) -> int:
        """Copy what is new or has changed, and return the number of files. A checkpoint's index comes last.

        Raises:
            ClusterError: a file cannot be copied; those before it have been.
        """
        stamps = self._stamps()
        changed = [name for name, stamp in stamps.items() if self._copied.get(name) != stamp]
        for name in sorted(changed, key=lambda name: (name.endswith("/index.json"), name)):
            with contextlib.suppress(FileNotFoundError):  # an old checkpoint, removed since it was listed
                copy_file(str(self._local / name), join(self._remote, name))
                self._copied[name] = stamps[name]
        return len(changed)

    def _stamps(self) -> dict[str, tuple[int, int]]:
        stamps = {}
        for path, status in _local_files(self._local):
            name = path.relative_to(self._local)
            if any(part.startswith(".") for part in name.parts) or path.suffix in _UNFINISHED:
                continue
            if self._folders is not None and name.parts[0] not in self._folders:
                continue
            stamps[name.as_posix()] = (status.st_size, status.st_mtime_ns)
        return stamps


def _local_files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file below `folder`, if there is one, links followed."""
    try:
        for path in files_below(folder) if folder.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                yield path, path.stat()
    except OSError as error:
        raise ClusterError(f"{error.filename}: cannot be read: {error.strerror}") from error


def join(url: str, name: str) -> str:
    """The file `name` below `url`."""
    return f"{url.rstrip('/')}/{PurePosixPath(name)}"


@contextlib.contextmanager
def _reaching(what: str) -> Iterator[None]:
    """Turn the errors of disks and object stores, which are of many kinds, into one."""
    try:
        yield
    except (ClusterError, FileNotFoundError):
        raise
    except Exception as error:
        raise ClusterError(f"{what} cannot be reached, read or written: {error}") from error


def _moxing() -> Any:
    try:
        moxing = importlib.import_module("moxing")
    except ImportError as error:
        raise ClusterError(
            "this machine has no moxing, the package that reaches obs://: use an image of ModelArts, or give a folder"
        ) from error
    return moxing.file
