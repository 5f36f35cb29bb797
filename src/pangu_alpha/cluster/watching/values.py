"""What the values in the files of a run may be: those of a record of a rank, and of the end of a process.

A file of a killed process, of another program or of a full disk may hold anything that JSON can say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

MAX_RANKS = 1_000_000
"""Ranks of a job that are counted, whatever a damaged record says."""
_MAX_SECONDS = 1e11
"""Of a time since 1970: the year 5138, after which a calendar is no more asked."""
_MAX_TEXT = 10_000
"""Characters of a text."""
_MAX_SHOWN = 40
"""Characters of a wrong value that are shown."""
Check = Callable[[Any], bool]


def check_values(values: Mapping[str, Any], checks: Mapping[str, Check]) -> None:
    """Refuse values that are none of their kind.

    Raises:
        ValueError: one of them, whose name the message says.
    """
    for name, check in checks.items():
        if name in values and not check(values[name]):
            raise ValueError(f"{name} is {repr(values[name])[:_MAX_SHOWN]}")


def whole(least: int, most: int) -> Check:
    """Whole numbers from `least` to `most`."""
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_moment(value: Any) -> bool:
    """Seconds since 1970 that a clock can show."""
    return is_duration(value) and value >= 0


def is_duration(value: Any) -> bool:
    """Seconds, also fewer than none: a clock may have been set back meanwhile."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and -_MAX_SECONDS < value < _MAX_SECONDS  # which NaN is not


def is_word(value: Any) -> bool:
    """A text of one line that a screen can show."""
    return isinstance(value, str) and len(value) < _MAX_TEXT and value.isprintable()


def is_text(value: Any) -> bool:
    """A text of any lines."""
    return isinstance(value, str) and len(value) < _MAX_TEXT and not any("\ud800" <= c <= "\udfff" for c in value)


def nothing_or(check: Check) -> Check:
    """None, or what `check` takes."""
    return lambda value: value is None or check(value)
