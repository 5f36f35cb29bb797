"""Whole numbers that somebody has typed."""

from __future__ import annotations

import re
from collections.abc import Mapping

MAX_DIGITS = 18
"""What fits in 64 bits. Python reads longer ones, up to 4,300 digits, and then fails in other words."""


def whole_number(text: str) -> int | None:
    """The number that `text` says in digits, from 0 on; None when it says none, or one that nothing here can count."""
    return int(text) if re.fullmatch(rf"[0-9]{{1,{MAX_DIGITS}}}", text) else None


def number_in(environment: Mapping[str, str], *names: str, default: int) -> int:
    """The number that the first set one of the variables `names` says; `default` when none is set.

    Raises:
        ValueError: it says something else.
    """
    for name in names:
        if text := environment.get(name):
            number = whole_number(text)
            if number is None:
                raise ValueError(f"{name}={text[:40]} in the environment is not a number: unset it, a launcher sets it")
            return number
    return default
