"""What a check says: one line of the doctor's table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pangu_alpha.errors import PanguError

State = Literal["ok", "bad", "skipped"]


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    what: str
    """What was looked at."""
    state: State
    """`skipped`: there was nothing to look at here."""
    found: str
    """What is there, or why the check was skipped."""
    fix: str = ""
    """The way out of a `bad` finding."""


def ok(what: str, found: str) -> Finding:
    """A check that found nothing wrong."""
    return Finding(what, "ok", found)


def bad(what: str, found: str, fix: str) -> Finding:
    """A check that found what would break the job."""
    return Finding(what, "bad", found, fix)


def skipped(what: str, why: str) -> Finding:
    """A check with nothing to look at."""
    return Finding(what, "skipped", why)


def refused(what: str, error: PanguError, fix: str) -> Finding:
    """A check that ended in an error of ours. Its last sentence is the way out; `fix` is for those of one sentence."""
    message = str(error)
    found, _, own_fix = message.rpartition(". ")
    return bad(what, found, own_fix[:1].lower() + own_fix[1:]) if found else bad(what, message, fix)
