"""A lock between real processes: it names its holder, and dies with it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pangu_alpha.errors import BusyError
from pangu_alpha.locks import locked

HOLD = "import sys, time; from pathlib import Path; from pangu_alpha.locks import locked\n"
HOLD += "with locked(Path(sys.argv[1]), 'it'): print('held', flush=True); time.sleep(100)"


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / ".lock")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_the_error_names_the_process_that_holds_it(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    who = rf"^runs/a is being written by process {holder.pid} on "
    with pytest.raises(BusyError, match=who), locked(tmp_path / ".lock", "runs/a"):
        pass
    holder.kill()
    holder.communicate()


def test_a_killed_process_leaves_no_lock(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with locked(tmp_path / ".lock", "runs/a"):
        pass


def test_waiting_for_the_other_to_end(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -9 {holder.pid}"])
    begin = time.monotonic()
    with locked(tmp_path / ".lock", "runs/a", wait=30.0):
        assert 0.2 < time.monotonic() - begin < 30
    holder.communicate()


def test_a_lock_can_be_taken_again_and_is_not_passed_on(tmp_path: Path) -> None:
    with locked(tmp_path / ".lock", "runs/a"):
        child = subprocess.Popen(["sleep", "100"], close_fds=False)
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / ".lock", "runs/a"):
        assert (tmp_path / ".lock").read_text() != ""
    child.kill()
    child.wait()
