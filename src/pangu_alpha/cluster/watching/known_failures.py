"""The table of known failures: messages of failed jobs, with what caused them and what to do, in words.

The texts are those of MindSpore, CANN, the driver, Python, job systems and this package.
"""

from __future__ import annotations

from collections.abc import Iterable

from pangu_alpha.cluster.watching import failures_of_cards, failures_of_hosts
from pangu_alpha.cluster.watching.failure import Kind, KnownFailure, Line, Match, codes_in
from pangu_alpha.cluster.watching.failures_of_hosts import DISK_FULL, JOB_SYSTEM, SETTINGS, SYSTEM_KILL
from pangu_alpha.cluster.watching.lines import is_quiet

__all__ = ["JOB_SYSTEM", "KNOWN_FAILURES", "SETTINGS", "SIGNALS", "SYSTEM_KILL", "best", "find_failure", "find_in"]

KNOWN_FAILURES: tuple[KnownFailure, ...] = (
    SETTINGS,
    *failures_of_cards.CAUSES,
    *failures_of_hosts.CAUSES,
    *failures_of_cards.UNEXPLAINED,
    *failures_of_hosts.UNEXPLAINED,
    *failures_of_hosts.CONSEQUENCES,
    *failures_of_cards.CONSEQUENCES,
)
_ORDER = {
    row.name: (kind, index)
    for index, row in enumerate(KNOWN_FAILURES)
    for kind, of_kind in enumerate((Kind.CAUSE, Kind.CONSEQUENCE, Kind.UNEXPLAINED))
    if row.kind is of_kind
}
"""Of the rows that one log has, which one tells most about it. A message that names its reason, be it only the loss of
another rank, says more than one that gives none."""
SIGNALS = {
    "SIGKILL": (
        "killed by SIGKILL: by a person, by the job system, or by the system when its host had no memory left",
        "`dmesg` on that host has a line `Killed process` when memory was the reason; then put fewer ranks on it or "
        "lower train.batch_size",
    ),
    "SIGTERM": ("asked to end by SIGTERM before it could save", "see who stopped it: a person or the job system"),
    "SIGINT": ("stopped by Ctrl-C (SIGINT) before it could save", "start it again when that is wanted"),
    "SIGSEGV": (
        "crashed (SIGSEGV) in compiled code",
        "run it again; if it crashes at the same place, versions of MindSpore, CANN and driver do not fit together",
    ),
    "SIGBUS": (
        "crashed (SIGBUS): a file or shared memory that it had mapped is gone or could not be filled",
        "look at the space in /dev/shm and whether data files were changed during the run",
    ),
    "SIGABRT": ("gave up by itself (SIGABRT)", "the last lines of its log say why"),
    "SIGXFSZ": (DISK_FULL.cause, DISK_FULL.fix),
}
"""Cause and fix of a death by a signal, when the log says nothing."""


def find_in(line: Line) -> list[Match]:
    """All rows that `line` is evidence of."""
    codes, small = codes_in(line.text), line.text.lower()
    return [found for row in KNOWN_FAILURES if (found := row.find(line, codes, small))]


def best(findings: Iterable[Match]) -> Match | None:
    """The one of several in one log that tells most; None of none."""
    return min(findings, key=lambda finding: _ORDER[finding.failure.name], default=None)


def find_failure(text: str) -> Match | None:
    """The failure of the table that `text`, an error message, is evidence of; None when there is none."""
    lines = [Line(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    findings = [(finding, is_quiet(line.text)) for line in lines for finding in find_in(line)]
    error = best(finding for finding, quiet in findings if not quiet)
    return error or best(finding for finding, _ in findings if finding.failure.warns_of)
