"""Places that one process uses at a time. A process that dies, however it does, leaves no lock behind.

A lock is a file that the kernel locks for its holder (`flock`) and forgets with it. It also says who holds it, and its
holder touches it every few seconds: where the file system does not pass locks on to other hosts, or has none at all,
whoever wants it watches whether that goes on.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pangu_alpha.console import say
from pangu_alpha.errors import LockError
from pangu_alpha.reading import parse_json

BEAT = 5.0
"""Seconds between the touches of a holder."""
LEASE = 4 * BEAT
"""Seconds without a touch after which a holder that cannot be asked otherwise counts as dead."""
_LONG_AGO = 600.0
"""Seconds; a last touch before that was in an earlier life, even if the hosts' clocks differ by minutes."""
_POLL = 0.2
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""What file systems answer that know no locks."""


@contextmanager
def only_one(path: Path, what: str, way_out: str, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock `path` while the block runs.

    Args:
        path: of the lock file, in an existing folder; it is there only while somebody holds it, or was killed.
        what: is being locked, for the messages.
        way_out: what else the user can do, for example choose another output.
        patience: seconds to wait for a holder that is about to end.

    Raises:
        LockError: another process holds it, which the message names, or the file cannot be written.
    """
    deadline = time.monotonic() + patience
    is_waiting = False
    while isinstance(taken := _take(path), dict):
        holder = _describe(taken)
        if time.monotonic() >= deadline:
            raise LockError(f"{what} is in use by {holder}. Wait for its end, end it, or {way_out}")
        if not is_waiting:
            say(f"{what} is still in use by {holder}: waiting up to {patience:.0f} s for its end")
            is_waiting = True
        time.sleep(_POLL)
    leaving = threading.Event()
    beats = threading.Thread(target=_touch, args=(taken, leaving), daemon=True)
    beats.start()
    try:
        yield
    finally:
        leaving.set()
        beats.join()
        if _is_at(taken, path):
            path.unlink(missing_ok=True)
        os.close(taken)


def _take(path: Path) -> int | dict[str, Any]:
    """The open lock file, locked; or who holds it, as far as it has said."""
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise LockError(f"{path} cannot be written ({error.strerror}): choose a place that can be") from error
        is_free, has_locks = _flock(file)
        holder = _read(file)
        if is_free and not _is_at(file, path):  # the holder before removed it in this moment
            os.close(file)
            continue
        if not is_free or (holder and not (has_locks and holder.get("boot") == _boot()) and _lives(file, holder)):
            os.close(file)
            return holder
        with suppress(OSError):  # a full disk: the lock holds, but cannot say for whom
            os.ftruncate(file, 0)
            os.pwrite(file, json.dumps(_myself()).encode(), 0)  # in ASCII: a word of the command may be no text
        return file


def _flock(file: int) -> tuple[bool, bool]:
    """Whether nobody else has locked `file`, as far as its file system knows; and whether that knows locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True, True
    except BlockingIOError:
        return False, True
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return True, False


def _lives(file: int, holder: dict[str, Any]) -> bool:
    """Whether the holder, whom the kernel here knows nothing of, goes on touching the file."""
    before = os.fstat(file).st_mtime_ns
    if abs(time.time() - before / 1e9) > _LONG_AGO:
        return False
    say(f"looking for up to {LEASE:.0f} s whether {_describe(holder)} still runs")
    deadline = time.monotonic() + LEASE
    while time.monotonic() < deadline:
        time.sleep(_POLL)
        if os.fstat(file).st_mtime_ns != before:
            return True
    return False


def _touch(file: int, leaving: threading.Event) -> None:
    while not leaving.wait(BEAT):
        with suppress(OSError):
            os.utime(file)


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _read(file: int) -> dict[str, Any]:
    try:
        found = parse_json(os.pread(file, 1 << 16, 0).decode())
    except ValueError:  # empty, or being written
        return {}
    return found if isinstance(found, dict) else {}


def _myself() -> dict[str, Any]:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "boot": _boot(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": command[:200],
    }


def _boot() -> str:
    """Names the running kernel: equal for two processes that see the same locks, however their hosts are called."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _describe(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process, which has not said who it is"
    return "process {pid} on {host} since {since} ({command})".format(
        **{name: holder.get(name, "?") for name in ("pid", "host", "since", "command")}
    )
