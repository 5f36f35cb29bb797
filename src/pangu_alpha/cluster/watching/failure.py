"""What a row of the table of known failures is: a message, what it means and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property

from pangu_alpha.cluster.patterns import ranges

_MAX_RANK = 1_000_000
"""HCCL writes 4294967295 for a rank that it does not know."""


class Kind(Enum):
    """What a message says about the process that printed it."""

    CAUSE = auto()
    """The cause lies with this process."""
    UNEXPLAINED = auto()
    """It broke here, and the message does not say why."""
    CONSEQUENCE = auto()
    """It lost another rank: look there first."""


@dataclass(frozen=True)
class Origin:
    """Where the message comes from, as far as it is known."""

    rank: str = "the rank"
    """`rank 3` or `scheduler`."""
    host: str | None = None
    card: str | None = None
    """Number of the card on its host."""

    def words(self) -> dict[str, str]:
        """What a cause or fix can name."""
        host = self.host or f"the host of {self.rank}"
        card = f"the card of {self.rank}" if self.card is None else f"card {self.card} of {host}"
        return {"rank": self.rank, "host": host, "card": card, "card_id": self.card or "CARD"}


@dataclass(frozen=True)
class Line:
    """One line of a log."""

    number: int
    """From 1."""
    text: str


_CANN_CODE = re.compile(r"\b(?:E[A-Z1-9]\d{4})(?=[:)\[ ,]|$)")
_RUNTIME_CODE = re.compile(r"(?i:code|ret|result|error|errno)\w*(?:\W|is){1,8}([125]\d{5})\b")
"""A number of the runtime where it is said to be one: a bare number can be anything."""
_HCCL_CODE = re.compile(r"(?i:hccl).*error code is (\d{1,2})\b")


def codes_in(text: str) -> frozenset[str]:
    """The codes of CANN in a line: EI0006, 507015, and what a function of HCCL returned as HCCL9."""
    codes = {*_CANN_CODE.findall(text), *_RUNTIME_CODE.findall(text)}
    if match := _HCCL_CODE.search(text):
        codes.add(f"HCCL{match[1]}")
    return frozenset(codes)


@dataclass(frozen=True)
class KnownFailure:
    """One row of the table. A line of a log is evidence of it that has one of its codes, texts or patterns."""

    name: str
    cause: str
    """In words. {rank}, {host}, {card} and {card_id} are of the process; {other} is `rank 1` or `another rank`."""
    fix: str
    codes: frozenset[str] = frozenset()
    """See `codes_in`."""
    texts: tuple[str, ...] = ()
    """In small letters; capitals in the line do not matter."""
    pattern: str = ""
    """`cause` and `fix` can use its named groups. The group `other` has the ranks that were waited for, `card` the
    number of the process's own card, and `num_cards` what that must not be below."""
    call: str = ""
    """Pattern of a call that has failed: evidence only where the line has no number of the runtime, which says why."""
    kind: Kind = Kind.CAUSE
    warns_of: tuple[str, ...] = ()
    """Names of rows. What a warning says the process went on after, so that it is no more than a hint; but this row,
    when only a warning has it, is the cause of an end with one of those, or with no error at all."""

    is_announced: bool = False
    """Whether it is said before it comes true, so that the process may still do something before it ends of it."""

    @cached_property
    def _regex(self) -> re.Pattern[str] | None:
        return re.compile(self.pattern) if self.pattern else None

    @cached_property
    def _call(self) -> re.Pattern[str] | None:
        return re.compile(self.call) if self.call else None

    def find(self, line: Line, codes: frozenset[str], small: str) -> Match | None:
        """Look for it in `line`.

        Args:
            codes: those in it.
            small: its text in small letters.
        """
        match = self._regex.search(line.text) if self._regex else None
        if match is None and self._call is not None and not any(code.isdigit() for code in codes):
            match = self._call.search(line.text)
        if match is not None and _is_there(match.groupdict()):
            match = None
        if match is None and not codes & self.codes and not any(text in small for text in self.texts):
            return None
        return Match(self, line, match.groupdict() if match else {})


def _is_there(groups: Mapping[str, str | None]) -> bool:
    """Whether a line says itself that the card that it names is one of those that there are."""
    count, card = groups.get("num_cards"), groups.get("card")
    return count is not None and card is not None and int(card) < int(count)


@dataclass(frozen=True)
class Match:
    """A known failure in a text."""

    failure: KnownFailure
    at: Line
    """The line that tells."""
    groups: Mapping[str, str | None]
    """What the named groups of its pattern matched."""

    @classmethod
    def without_groups(cls, failure: KnownFailure) -> Match:
        """`failure`, found elsewhere than in a log."""
        return cls(failure, Line(0, ""), {})

    @property
    def line(self) -> str:
        """The text that tells."""
        return self.at.text

    @property
    def others(self) -> tuple[int, ...]:
        """The ranks that it waited for or heard nothing more from."""
        numbers = {int(number) for number in re.findall(r"(?<![\w-])\d+(?![\w-])", self.groups.get("other") or "")}
        return tuple(sorted(number for number in numbers if number <= _MAX_RANK))

    def words(self, place: Origin) -> tuple[str, str]:
        """Cause and fix for the process at `place`."""
        values = {name: text or "?" for name, text in self.groups.items()} | place.words()
        values["other"] = f"rank {ranges(self.others)}" if self.others else "another rank"
        return self.failure.cause.format_map(values), self.failure.fix.format_map(values)
