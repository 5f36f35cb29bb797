"""Other servers: starting a job's part on each of them over ssh, and following it.

A connection is a member of the leader's job like any process. Its stdin carries the order and the signals (see `node`):
when the leader or the connection dies, the server sees the end of it, whatever killed them.
"""

from __future__ import annotations

import contextlib
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pangu_alpha.cluster.launching.job import KILL, NOISE, Member, reason, tail
from pangu_alpha.cluster.launching.node import Order
from pangu_alpha.cluster.patterns import check_host_name
from pangu_alpha.errors import ClusterError

SSH = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15"
"""How a server is reached: no questions, and a dead connection is noticed within a minute."""
_NODE = "pangu_alpha.cluster.launching.node"


class Host(Member):
    """The connection to one server."""

    def stop(self) -> None:
        """Let all its ranks save and end."""
        self._tell(signal.SIGTERM)

    def kill(self) -> None:
        """End all its ranks at once."""
        self._tell(KILL)

    def last_words(self, noise: Sequence[bytes] = (NOISE,)) -> str:
        """What the server said about the rank that died, or ssh about the connection."""
        assert self.process.stdout is not None
        said = self.process.stdout.read().decode(errors="replace").strip()
        return f"{self.name}: {said or f'{reason(self.process.returncode)}, {tail(self.log, noise)}'}"

    def _tell(self, number: int) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, and the job sees that
            self.process.stdin.write(b"%d\n" % number)
            self.process.stdin.flush()


def ssh_words(address: str, ssh: str) -> list[str]:
    """The command that starts a server's part of the job: with this Python, which has the same path there.

    Args:
        ssh: program and options.

    Raises:
        ClusterError: `ssh` or `address` is not what it should be.
    """
    return [*reach(address, ssh), shlex.join([sys.executable, "-m", _NODE])]


def reach(address: str, ssh: str) -> list[str]:
    """The words before the command that is to run at `address`; `--` ends the options, for whoever reads them.

    Raises:
        ClusterError: `ssh` is no command, or `address` no name of a host.
    """
    check_host_name(address)
    try:
        words = shlex.split(ssh)
    except ValueError as error:
        raise ClusterError(f"--ssh {ssh!r} cannot be read as a command: {error}") from error
    if not words:
        raise ClusterError("--ssh names no program: give one such as 'ssh -p 2222'")
    return [*words, "--", address]


def start_host(address: str, order: Order, ssh: str, logs: Path) -> Host:
    """Give `order` to the server at `address`.

    Raises:
        ClusterError: the ssh program cannot be started, or `address` is no name of a host.
    """
    command = ssh_words(address, ssh)  # which checks the address: the log is named after it
    log = logs / f"host_{address}.log"
    try:
        with log.open("wb") as file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                start_new_session=True,  # Ctrl-C must not reach ssh
            )
    except OSError as error:
        raise ClusterError(f"{ssh!r} cannot be started: {error}. Install it, or name another with --ssh") from error
    host = Host(f"host {address}", process, log)
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(order.to_json().encode() + b"\n")
        process.stdin.flush()
    return host
