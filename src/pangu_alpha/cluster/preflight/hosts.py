"""The same preflight on every host of a job, over ssh."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pangu_alpha.cluster.launching.environment import forwarded_environment
from pangu_alpha.cluster.launching.hosts import reach
from pangu_alpha.cluster.preflight.report import Report
from pangu_alpha.errors import ClusterError

_AT_ONCE = 64
"""Connections that are open at the same time."""
_TIMEOUT = 300.0
"""Seconds that a host may take."""
_READY = "pangu doctor is ready"


@dataclass(frozen=True)
class Answer:
    """What one host said."""

    address: str
    """Name of the host as it stands in the hosts file."""
    report: Report
    clock: tuple[float, float]
    """Seconds by which its clock is ahead of this machine's, at least and at most: the round trip lies between."""


@dataclass(frozen=True)
class Silence:
    """Why there is no report of a host."""

    address: str
    reason: str


def ask_hosts(
    addresses: Sequence[str], arguments: Sequence[str], ssh: str, advance: Callable[[float], None]
) -> list[Answer | Silence]:
    """Run `pangu doctor --json` with `arguments` on every host, in this working directory and with this Python.

    Args:
        addresses: hosts, as ssh knows them.
        arguments: of `pangu doctor`; `--server` and the host are added.
        ssh: program and options.
        advance: called with 1 for each host that has answered.

    Raises:
        ClusterError: the ssh program cannot be started.
    """

    def ask(address: str) -> Answer | Silence:
        command = [*reach(address, ssh), _script([*arguments, "--json", "--server", address])]
        try:
            answer = _ask(address, command)
        except OSError as error:
            raise ClusterError(f"{ssh!r} cannot be started: {error}. Install it, or name another with --ssh") from error
        advance(1)
        return answer

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(ask, addresses))


def _script(arguments: Sequence[str]) -> str:
    """What the host's shell runs. It tells the time after a line from here: one round trip lies between the clocks."""
    # A job gets these variables of the launching shell too.
    variables = [f"{name}={value}" for name, value in forwarded_environment().items()]
    doctor = shlex.join(["env", *variables, sys.executable, "-m", "pangu_alpha.cli.main", "doctor", *arguments])
    return f"echo {_READY}; read -r _; date +%s.%N; cd {shlex.quote(str(Path.cwd()))} && exec {doctor}"


def _ask(address: str, command: Sequence[str]) -> Answer | Silence:
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            errors="replace",
        )
        killer = threading.Timer(_TIMEOUT, process.kill)
        killer.start()
        try:
            with process:
                clock = _exchange(process)
                output = process.stdout.read() if process.stdout else ""
        finally:
            killer.cancel()
        errors.seek(0)
        last_words = errors.read().strip().splitlines()[-1:]
    try:
        if clock is None:
            raise ValueError("no connection")
        return Answer(address, Report.from_json(output.splitlines()[-1]), clock)
    except (ValueError, KeyError, TypeError, IndexError):
        return Silence(address, last_words[0] if last_words else f"no report (exit code {process.returncode})")


def _exchange(process: subprocess.Popen[str]) -> tuple[float, float] | None:
    assert process.stdin is not None and process.stdout is not None
    while (line := process.stdout.readline()).strip() != _READY:  # login scripts may print something first
        if not line:
            return None
    asked = time.time()
    try:
        process.stdin.write("\n")
        process.stdin.flush()
        told = float(process.stdout.readline())
    except (OSError, ValueError):
        return None
    return told - time.time(), told - asked
