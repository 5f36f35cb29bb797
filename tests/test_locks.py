from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pangu_alpha import locks
from pangu_alpha.errors import LockError
from pangu_alpha.locks import only_one

HOLDING = """
import sys
from pathlib import Path
from pangu_alpha.locks import only_one
with only_one(Path(sys.argv[1]), "the run", "set another output"):
    print(flush=True)
    sys.stdin.read()
"""

TAKING_TURNS = """
import sys, time
from pathlib import Path
from pangu_alpha.locks import only_one
folder = Path(sys.argv[1])
for _ in range(5):
    with only_one(folder / "lock", "the folder", "wait", patience=280):
        (folder / "mine").touch(exist_ok=False)
        time.sleep(0.01)
        (folder / "mine").unlink()
"""


def _hold(path: Path) -> subprocess.Popen[bytes]:
    """A process that holds the lock until its stdin is closed."""
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", HOLDING, str(path)], **pipes)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_the_second_one_is_refused_with_the_name_of_the_first_and_a_kill_frees_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ".run.lock"
    process = _hold(path)
    with pytest.raises(LockError) as error, only_one(path, "the run", "set another output"):
        pass
    message = str(error.value)
    assert f"the run is in use by process {process.pid} on " in message and "set another output" in message
    process.kill()
    process.communicate()
    with only_one(path, "the run", "set another output"):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert capsys.readouterr().err == "", "it was waited for"
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_about_to_end_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = _hold(tmp_path / "lock")
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        assert process.stdin is not None
        process.stdin.close()  # and so it ends, once it is being waited for

    monkeypatch.setattr(locks, "say", hear)
    with only_one(tmp_path / "lock", "rank 0", "set another output", patience=280):
        assert process.wait(280) == 0
    (line,) = said
    assert line.startswith(f"rank 0 is still in use by process {process.pid} on ")


def test_one_of_many_gets_it_at_a_time(tmp_path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", TAKING_TURNS, str(tmp_path)]) for _ in range(4)]
    assert [process.wait(280) for process in processes] == [0] * 4
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """The lock of a holder on another host, on a file system that keeps locks to each host."""
    path = tmp_path / "lock"
    path.write_text(json.dumps({"pid": 77, "host": "node-3", "boot": "other", "since": "today", "command": "pangu"}))
    return path


def test_a_command_that_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["pangu", "train", "a\udcff"])
    with only_one(tmp_path / "lock", "the run", "wait"):
        with pytest.raises(LockError, match=f"process {os.getpid()} on "), only_one(tmp_path / "lock", "it", "wait"):
            pass
        assert json.loads((tmp_path / "lock").read_text())["command"].endswith("train 'a\udcff'")


@pytest.mark.parametrize("content", [b"", b"\xff", b"[7]", b"[" * 60_000], ids=["empty", "bytes", "list", "nested"])
def test_a_holder_that_cannot_be_read_is_still_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lock"
    path.write_bytes(content)
    with path.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LockError, match="the run is in use by"), only_one(path, "the run", "wait"):
            pass
    with only_one(path, "the run", "wait"):
        pass


def test_a_holder_on_another_host_is_seen_by_its_beats(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touching = "import os, sys, time\nwhile True: os.utime(sys.argv[1]); time.sleep(0.1)"
    written = elsewhere.stat().st_mtime_ns
    process = subprocess.Popen([sys.executable, "-c", touching, str(elsewhere)])
    try:
        while elsewhere.stat().st_mtime_ns == written:  # its start may take longer than the lease
            assert process.poll() is None
            time.sleep(0.01)
        with pytest.raises(LockError, match="process 77 on node-3"), only_one(elsewhere, "the run", "wait"):
            pass
    finally:
        process.kill()
        process.wait()
    monkeypatch.setattr(locks, "LEASE", 1.0)
    with only_one(elsewhere, "the run", "wait"):  # its beats have ended
        pass


def test_one_that_was_killed_long_ago_elsewhere_is_not_waited_for(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.utime(elsewhere, (1e9, 1e9))
    with only_one(elsewhere, "the run", "wait"):
        assert capsys.readouterr().err == ""


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    monkeypatch.setattr(locks, "BEAT", 0.1)
    with only_one(tmp_path / "lock", "the run", "wait"):
        with pytest.raises(LockError, match=f"process {os.getpid()} on "), only_one(tmp_path / "lock", "it", "wait"):
            pass
        assert (tmp_path / "lock").exists()
    with only_one(tmp_path / "lock", "the run", "wait"):
        pass


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(LockError, match="no/lock cannot be written"), only_one(tmp_path / "no" / "lock", "it", "wait"):
        pass
