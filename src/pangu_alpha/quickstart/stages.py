"""Stages that are done once for the same inputs, each made of `pangu` commands that are shown and run.

stages.json in the output directory remembers what was done.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from pangu_alpha.console import duration
from pangu_alpha.errors import PanguError
from pangu_alpha.files import write_text
from pangu_alpha.reading import read_json

BIN = Path(os.path.relpath(sys.executable)).parent
"""Where the commands of this Python are, as a user in this directory types it."""
STOPPED = "stopped; the same command goes on from here"


class StageError(PanguError):
    """A stage did not end well."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Stages:
    """Runs stages once for the same inputs, and says so."""

    def __init__(self, output: Path, num_stages: int) -> None:
        self._memory = output / "stages.json"
        self._done = _remembered(self._memory)
        self._num_stages = num_stages
        self._number = 0
        self.fingerprint = ""
        """Of everything that the stages so far have used."""

    def run(self, name: str, purpose: str, inputs: object, product: Path, work: Callable[[bool], object]) -> None:
        """Do a stage, or skip it.

        Args:
            name: its key in stages.json.
            purpose: what it does, for the person watching.
            inputs: what it uses besides the products of earlier stages; anything with an exact repr.
            product: the file that is there when it is done.
            work: does it; its argument says whether an earlier start began it with the same inputs.
        """
        self._number += 1
        self.fingerprint = hashlib.sha256(f"{self.fingerprint}\n{name}\n{inputs!r}".encode()).hexdigest()[:16]
        title = f"[{self._number}/{self._num_stages}] {name}: {purpose}"
        if self._done.get(name) == self.fingerprint and product.exists() and product.stat().st_size:
            print(f"{title}: done before", flush=True)
            return
        print(title, flush=True)
        start = time.monotonic()
        begun = f"begun {self.fingerprint}"
        was_begun = self._done.get(name) in (begun, self.fingerprint)
        self._remember(name, begun)
        work(was_begun)
        self._remember(name, self.fingerprint)
        print(f"      {duration(time.monotonic() - start)}", flush=True)

    def _remember(self, name: str, state: str) -> None:
        self._done[name] = state
        write_text(self._memory, json.dumps(self._done, indent=1))


def _remembered(path: Path) -> dict[str, str]:
    """What stages.json says of earlier starts."""
    try:
        done = read_json(path)
        if isinstance(done, dict):
            return done
    except FileNotFoundError:
        return {}
    except ValueError:
        pass
    print(f"{path} is damaged: every stage is done again", file=sys.stderr)
    return {}


def announce(*words: str) -> None:
    """Show a command of `pangu` as a user in this directory types it."""
    print(f"      $ {shlex.join([str(BIN / 'pangu'), *words])}", flush=True)


def pangu(*words: str, keep_stdout: bool = False) -> bytes:
    """Show a command of `pangu`, run it, and return its stdout when that is wanted.

    Raises:
        StageError: it failed, which it has explained on stderr, or it was stopped.
    """
    announce(*words)
    return _run([sys.executable, "-m", "pangu_alpha.cli.main", *words], keep_stdout)


def _run(command: Sequence[str], keep_stdout: bool = False) -> bytes:
    """Run `command` and pass signals on to it."""
    stopped_by: list[int] = []
    process: subprocess.Popen[bytes] | None = None

    def forward(number: int, _frame: FrameType | None) -> None:
        stopped_by.append(number)
        if process is not None:
            process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # A session of its own: Ctrl-C on the terminal reaches it once, from here.
        process = subprocess.Popen(command, stdout=subprocess.PIPE if keep_stdout else None, start_new_session=True)
        if stopped_by:  # while it was being started
            process.send_signal(stopped_by[0])
        stdout, _ = process.communicate()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stopped_by:
        raise StageError(STOPPED, 128 + stopped_by[0])
    if process.returncode:
        code = process.returncode if process.returncode > 0 else 128 - process.returncode
        raise StageError(f"this stage failed with exit code {code}; its message is above", code)
    return stdout or b""
