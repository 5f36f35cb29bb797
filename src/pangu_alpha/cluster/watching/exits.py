"""What the launchers write among the logs: how the processes of a job ended, and what started it."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangu_alpha.cluster.watching.heartbeat import Heartbeat
from pangu_alpha.cluster.watching.values import MAX_RANKS, Check, check_values, is_moment, is_word, nothing_or, whole
from pangu_alpha.reading import list_folder, read_json

COMMAND = "command.sh"
"""What started the job, and starts it again. A server that was started by hand does not write it."""
_STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
"""Exit codes of a process that was stopped."""


_NAME = re.compile(r"rank (?:0|[1-9]\d{0,8})|(?!rank )\w[\w .:-]*")
_CHECKS: dict[str, Check] = {
    "rank": nothing_or(whole(0, MAX_RANKS - 1)),
    "name": nothing_or(lambda value: isinstance(value, str) and _NAME.fullmatch(value) is not None),
    "time": is_moment,
    "exit_code": nothing_or(whole(-(2**31), 2**32)),
    "signal": nothing_or(lambda value: is_word(value) and value != ""),
}
"""Of the values of an entry."""


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
        unreadable: gets, by its path, why a file, an entry of it or the folder tells nothing.
    """
    exits = {}
    try:
        paths = [*list_folder(logs, "ended*.json"), *list_folder(logs, "exits*.json")]
    except OSError as error:
        unreadable[str(logs)] = str(error.strerror)
        return {}
    for path in paths:
        try:
            entries = read_json(path)
        except OSError as error:
            unreadable[str(path)] = str(error.strerror)
            continue
        except ValueError as error:
            unreadable[str(path)] = f"damaged, {error}"
            continue
        if not isinstance(entries, list):
            unreadable[str(path)] = "damaged, it is no list"
            continue
        for number, values in enumerate(entries, 1):
            try:
                end = _end_of(values, with_job=path.name.startswith("ended"))
            except ValueError as error:
                unreadable[str(path)] = f"damaged, {error} in entry {number}"
                continue
            record = records.get(rank_of(end.name))
            if record is None or record.time + record.clock_lead <= end.time:
                exits[end.name] = end
    return exits


def _end_of(values: Any, with_job: bool) -> Exit:
    """What an entry says.

    Raises:
        ValueError: it says none.
    """
    if not isinstance(values, dict):
        raise ValueError("no end of a process")
    check_values(values, _CHECKS)
    if "time" not in values:
        raise ValueError("no time")
    rank, name = values.get("rank"), values.get("name")
    name = name if rank is None else f"rank {rank}"
    if name is None:
        raise ValueError("neither rank nor name")
    if values.get("exit_code") is None and values.get("signal") is None:
        raise ValueError("neither exit_code nor signal")
    return Exit(name, float(values["time"]), values.get("exit_code"), values.get("signal"), with_job)
