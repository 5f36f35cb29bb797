"""Files and folders, without the ways in which `open` and `glob` go wrong in silence."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 256 << 20
"""Of a file that is read whole: the rank table of 100,000 cards has 15 MB."""


def read_text(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """The text of a UTF-8 file, without the byte order mark that some editors begin it with.

    Raises:
        OSError: it cannot be read, is a pipe or a device (which might never end), or has more than `max_bytes`.
        ValueError: it is not UTF-8.
    """
    try:
        return read_bytes(path, max_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text: byte 0x{error.object[error.start]:02x} at offset {error.start:,}") from error


def read_bytes(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """The contents of a file.

    Raises:
        OSError: as `open_file`, or it has more than `max_bytes`.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            what = f"{size:,} bytes, and no file of this kind has more than {max_bytes:,}"
            raise OSError(errno.EFBIG, what, str(path))
        return file.read()


def open_file(path: Path) -> BinaryIO:
    """`path`, opened for reading bytes.

    Raises:
        OSError: it cannot be read, or is a pipe or a device, which might never end.
    """
    # Without O_NONBLOCK, opening a pipe waits for somebody to write into it.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "a pipe, a socket or a device, not a file", str(path))
    return file


def list_folder(folder: Path, pattern: str = "*") -> list[Path]:
    """What in `folder` has a name like `pattern`, sorted; nothing when there is no such folder.

    Unlike `Path.glob`, which calls a folder empty that it may not look into.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.match(pattern))
    except FileNotFoundError:
        return []
