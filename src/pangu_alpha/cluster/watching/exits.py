"""What the launchers write among the logs: how the processes of a job ended, and what started it."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pangu_alpha.cluster.watching.heartbeat import Heartbeat
from pangu_alpha.reading import list_folder, read_json

COMMAND = "command.sh"
"""What started the job, and starts it again. A server that was started by hand does not write it."""
_STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
"""Exit codes of a process that was stopped."""


@dataclass(frozen=True)
class Exit:
    """The end of one process."""

    name: str
    """`rank 3` or `scheduler`."""
    time: float
    """Seconds since 1970 by its host's clock."""
    exit_code: int | None = None
    signal: str | None = None
    """Name of the signal that killed it, for example SIGKILL."""
    with_job: bool = False
    """Whether the launcher ended it because another one had failed."""

    @property
    def killed_by(self) -> str | None:
        """Name of the signal that killed it, also when a shell between has made an exit code of it, for example 137."""
        if self.signal is not None or self.exit_code is None or self.exit_code <= 128:
            return self.signal
        try:
            return signal.Signals(self.exit_code - 128).name
        except ValueError:  # no signal has this number
            return None

    def is_good(self, has_saved: bool) -> bool:
        """Whether it came to its end, or was stopped after it had saved.

        Args:
            has_saved: whether it says so, in its record or its log. A shell has the same exit codes for a process that
                a signal killed.
        """
        return self.exit_code == 0 or (has_saved and self.was_stopped)

    @property
    def was_stopped(self) -> bool:
        """Whether somebody or something asked it to end."""
        return self.exit_code in _STOPPED

    def __str__(self) -> str:
        if self.signal is not None:
            return f"killed by {self.signal}"
        return f"exit code {self.exit_code}" + (f" ({self.killed_by})" if self.killed_by else "")


def rank_of(name: str) -> int:
    """The number in the name of a rank's process; -1 for another process."""
    return int(name.removeprefix("rank ")) if name.startswith("rank ") else -1


def read_exits(logs: Path, records: Mapping[int, Heartbeat], unreadable: dict[str, str]) -> dict[str, Exit]:
    """The ended processes by name: from exits.json or the exits_HOST.json of each server, and ended*.json beside them.

    The latter has those that a launcher has ended itself, after a failure.

    Args:
        records: of the newest attempt. A rank that wrote its record after an end has been started again.
        unreadable: gets, by its path, why a file or the folder tells nothing.
    """
    exits = {}
    try:
        paths = [*list_folder(logs, "ended*.json"), *list_folder(logs, "exits*.json")]
    except OSError as error:
        unreadable[str(logs)] = str(error.strerror)
        return {}
    for path in paths:
        try:
            for values in read_json(path):
                rank = values.pop("rank", None)
                name = values.pop("name") if rank is None else f"rank {int(rank)}"
                end = Exit(name, with_job=path.name.startswith("ended"), **{**values, "time": float(values["time"])})
                if rank not in records or records[rank].time + records[rank].clock_lead <= end.time:
                    exits[name] = end
        except OSError as error:
            unreadable[str(path)] = str(error.strerror)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            unreadable[str(path)] = f"damaged, {error}"
    return exits
