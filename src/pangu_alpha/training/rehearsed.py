"""Which ranks of a job have a process: all of them, or in a rehearsal those that it plays. No MindSpore."""

from __future__ import annotations

from collections.abc import Mapping

from pangu_alpha.errors import ConfigError
from pangu_alpha.reading import whole_number

VARIABLE = "PANGU_ALPHA_REHEARSED_RANKS"
"""Set by `pangu rehearse` alone: the ranks that it plays, joined by commas."""


def ranks_of(environment: Mapping[str, str], num_ranks: int) -> tuple[int, ...]:
    """The ranks of a job of `num_ranks` that have a process, ascending.

    Raises:
        ConfigError: the variable names something else.
    """
    text = environment.get(VARIABLE)
    if text is None:
        return tuple(range(num_ranks))
    ranks = [whole_number(word) for word in text.split(",")]
    known = sorted({rank for rank in ranks if rank is not None and rank < num_ranks})
    if len(known) != len(ranks):
        raise ConfigError(f"{VARIABLE}={text} does not name ranks of a job of {num_ranks}: `pangu rehearse` sets it")
    return tuple(known)
