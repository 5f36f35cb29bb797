"""One writer at a time: a lock on a folder or a file that a dead process cannot leave behind."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pangu_alpha.errors import BusyError

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system says that has no locks."""


@contextmanager
def locked(path: Path, what: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock `path`, a small file that says who holds it.

    The operating system lets go of it when the process ends, however it ends. On a network file system it holds across
    machines; where there are no locks at all, nothing is held.

    Args:
        path: of the lock; it is there only while somebody holds it, or when who held it was killed.
        what: is written, for the error: "runs/2b6".
        wait: seconds to wait for another process to end.

    Raises:
        BusyError: another process holds it; the message names it.
    """
    descriptor = _take(path, what, time.monotonic() + wait)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(_myself()).encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _take(path: Path, what: str, deadline: float) -> int:
    """The descriptor of the locked file."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if _is_mine(descriptor, path):
                return descriptor
            if time.monotonic() >= deadline:
                raise BusyError(
                    f"{what} is being written by {_holder(descriptor)}. Wait until it has ended, stop it, or write "
                    "elsewhere"
                )
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        time.sleep(0.05)


def _is_mine(descriptor: int, path: Path) -> bool:
    """Lock the file, unless another process has, or has just removed it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            return False
        if error.errno not in _NO_LOCKS:
            raise
    return path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())


def _myself() -> dict[str, object]:
    return {"host": platform.node(), "pid": os.getpid(), "command": shlex.join(sys.argv)}


def _holder(descriptor: int) -> str:
    """Who holds the lock, as it says itself."""
    try:
        holder = json.loads(os.pread(descriptor, 1 << 16, 0))
        return f"process {holder['pid']} on {holder['host']} ({str(holder['command'])[:200]})"
    except (ValueError, KeyError, TypeError):
        return "another process"
