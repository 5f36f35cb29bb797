"""Starts the processes of a data-parallel run on this machine and watches them.

They are the processes that MindSpore's `msrun` starts (a scheduler, and workers that find each other through it), with
the same environment. msrun itself is not used: when a worker dies it waits for the scheduler's time-outs, and on Ctrl-C
it kills the workers before they can save.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from pangu_alpha.config import load_config
from pangu_alpha.console import say
from pangu_alpha.errors import PanguError, TrainingError

_SCHEDULER = "import mindspore; from mindspore.communication import init; mindspore.set_device('CPU'); init('mccl')"
_POLL = 0.1
"""Seconds between looks at the processes."""
_NUM_LINES = 15
"""Lines of a dead worker's log that are shown."""
_NOISE = b"[INFO] DISTRIBUTED("
"""MindSpore's remarks about its sockets, which no log level silences."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Member:
    """One process of the job."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


class Job:
    """The scheduler and the workers."""

    def __init__(self, num_workers: int, arguments: Sequence[str], logs: Path) -> None:
        """Start everything.

        Args:
            num_workers: data-parallel processes.
            arguments: of `pangu train`.
            logs: directory of the logs, one a process.
        """
        logs.mkdir(parents=True, exist_ok=True)
        self.stop_signal: int | None = None
        self._libc = ctypes.CDLL(None)
        cores = str(max(1, (os.cpu_count() or 1) // num_workers))
        self._environment = {
            "OMP_NUM_THREADS": cores,
            **os.environ,
            "MS_SCHED_HOST": "127.0.0.1",
            "MS_SCHED_PORT": str(_free_port()),
            "MS_WORKER_NUM": str(num_workers),
            "RANK_SIZE": str(num_workers),
        }
        self.scheduler = self._start("scheduler", 0, "MS_SCHED", ["-c", _SCHEDULER], logs)
        train = ["-m", "pangu_alpha.cli.main", "train", *arguments]
        self.workers = [self._start(f"worker_{rank}", rank, "MS_WORKER", train, logs) for rank in range(num_workers)]

    def watch(self) -> None:
        """Show what rank 0 prints until all workers have ended well.

        Raises:
            TrainingError: a process died. The others are ended by then.
        """
        with self.workers[0].log.open("rb") as shown:
            while any(worker.process.poll() is None for worker in self.workers):
                _show(shown)
                self._check()
                time.sleep(_POLL)
            _show(shown)
        self._check()

    def forward(self, number: int, _frame: FrameType | None = None) -> None:
        """Let the workers save and end; at the second signal they end at once."""
        self.stop_signal = number
        for worker in self.workers:
            if worker.process.poll() is None:
                # Always this one: while a graph runs, MindSpore turns SIGINT into it, and the workers must agree.
                worker.process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """Kill what still runs."""
        for member in (*self.workers, self.scheduler):
            if member.process.poll() is None:
                member.process.kill()
            member.process.wait()

    def _check(self) -> None:
        ended = [member for member in (*self.workers, self.scheduler) if member.process.poll() is not None]
        good = {0} if self.stop_signal is None else {0, 128 + signal.SIGTERM}
        dead = [member for member in ended if member.process.returncode not in good]
        if dead and self.stop_signal is None:
            raise TrainingError("\n".join(_describe_death(member) for member in dead))
        if dead:
            raise TrainingError(
                f"{dead[0].name} was stopped before it could save ({_reason(dead[0].process.returncode)})"
            )

    def _start(self, name: str, rank: int, role: str, command: Sequence[str], logs: Path) -> Member:
        own = {"MS_ROLE": role, "MS_NODE_ID": str(rank), "RANK_ID": str(rank), "DEVICE_ID": str(rank)}
        log = logs / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, *command],
                env=self._environment | own,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                # Ctrl-C on the terminal must reach a worker once, from here.
                start_new_session=True,
                # When this program is killed, the workers save and end instead of going on unseen.
                preexec_fn=lambda: self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),  # noqa: PLW1509 (no threads)
            )
        return Member(name, process, log)


def main() -> int:
    """Run the job and return its exit code: 0, 1 when a worker died, 2 for a wrong input, 128 + signal when stopped."""
    arguments = _parse()
    overrides = [*arguments.overrides, f"parallel.dp={arguments.workers}"]
    job = None
    try:
        config = load_config(arguments.recipe, overrides)
        logs = config.output / "logs"
        job = Job(arguments.workers, [arguments.recipe, *overrides], logs)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, job.forward)
        say(f"{arguments.workers} workers, logs in {logs}; this is worker_0:")
        job.watch()
    except PanguError as error:
        say(f"train_msrun: {error}")
        return error.exit_code if job is None or job.stop_signal is None else 128 + job.stop_signal
    finally:
        if job is not None:
            job.end()
    return 0 if job.stop_signal is None else 128 + job.stop_signal


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="launch/train_msrun.sh",
        description="Train with several processes on this machine; each takes its share of every batch. The same "
        "command again goes on from the newest checkpoint.",
        epilog="examples:\n  bash launch/train_msrun.sh --workers 2 configs/tiny_cpu.yaml\n"
        "  bash launch/train_msrun.sh --workers 8 2b6 train.batch_size=64 output=runs/2b6",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workers", type=int, required=True, metavar="N", help="processes; sets parallel.dp")
    parser.add_argument("recipe", help="a YAML file or the name of a shipped recipe")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that replace the recipe's")
    return parser.parse_args()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _describe_death(member: Member) -> str:
    lines = [line for line in member.log.read_bytes().splitlines() if _NOISE not in line][-_NUM_LINES:]
    last = "\n".join(f"  {line.decode(errors='replace')}" for line in lines)
    return f"{member.name} died ({_reason(member.process.returncode)}). The last lines of {member.log}:\n{last}"


def _reason(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _show(new_lines: Iterable[bytes]) -> None:
    sys.stderr.buffer.writelines(line for line in new_lines if _NOISE not in line)
    sys.stderr.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
