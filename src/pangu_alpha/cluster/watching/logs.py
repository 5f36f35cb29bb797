"""The logs of a job: which file is whose, and what one file of any size says, read once in bounded memory."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from pangu_alpha.cluster.watching.failure import Kind, Line, Match
from pangu_alpha.cluster.watching.known_failures import best, find_in
from pangu_alpha.cluster.watching.lines import (
    MAX_LINE,
    Worth,
    is_good_stop,
    is_no_news,
    is_own_mistake,
    is_progress,
    is_quiet,
    strength_of,
    text_of,
    worth_of,
)
from pangu_alpha.reading import list_folder, open_file

MAX_SHOWN = 400
"""Characters of a line that are shown."""
_BLOCK = 1 << 20
"""Bytes that are read at once."""
_MAX_SEEN = 1 << 24
"""Bytes of different lines that are remembered, so that what is printed a million times is judged once."""
_MAX_JUDGED = 5_000
"""Different lines, other than in their numbers, that are judged; of more, the last ones are judged instead."""
_NUM_LATEST = 500
"""Lines that were not judged when they came, and are at the end: the last ones."""
_TAIL = 1 << 14
"""Bytes at the end of which the last line is looked for."""
_NAME = re.compile(r"(?:^|.*[_-])(?:rank|worker)[_-](?:.+[_-])?(\d+)")
"""`rank_3` is ours, `worker_3` is msrun's, also with a host between: `worker_10.0.0.1_3`."""
_CODES = re.compile(rb"E[A-Z1-9]\d{4}|[125]0\d{4}|\(\d+/\d+\)")
"""The numbers that make a difference."""
_CARD = re.compile(
    r"device\(chipId:(\d+)|\(PID:\d+, Device:(\d+), RankID|\bdevice_?[iI]d[=:] ?(\d+)|\b(?:devId|set device)[=:](\d+)"
    r"|Device\[(\d+)\] lost|Device\(id:(\d+)\)|\bDevice (\d+) call"
)
_TIME = re.compile(r"(20\d\d)-(\d\d)-(\d\d)[-T ](\d\d):(\d\d):(\d\d)(?:[:.,](\d{1,3}))?")


@dataclass(frozen=True)
class Log:
    """What the log of one process says."""

    path: Path
    finding: Match | None = None
    """The known failure that tells most, of those after the last sign that the process lives."""
    last_error: Line | None = None
    """The last line that looks like an error, after the last sign that the process lives."""
    last: Line | None = None
    """The last line that is no progress."""
    is_strong: bool = False
    """Whether `last_error` is one by its form, not only by its words."""
    card: str | None = None
    """Number of the card that its messages name as its own."""
    hint: Match | None = None
    """Where there is no `finding`: a known failure that the process outlived, or that it only warned of."""
    was_stopped: bool = False
    """Whether it says that the job was stopped and has saved."""

    def quote(self, line: Line) -> str:
        """`line` with the place where it is, which may be long and costs the line nothing."""
        return f"{self.path}:{line.number}: {line.text[:MAX_SHOWN]}"


def find_logs(folder: Path) -> dict[str, Path]:
    """The logs in `folder` by the names of their processes; of two logs of one rank the newer one.

    Raises:
        OSError: the folder cannot be read.
    """
    logs: dict[str, Path] = {}
    for path in list_folder(folder, "*.log"):
        match = _NAME.fullmatch(path.stem)
        name = "scheduler" if path.stem == "scheduler" else f"rank {int(match[1])}" if match else ""
        if name and (name not in logs or _age(path) > _age(logs[name])):
            logs[name] = path
    return logs


def _age(path: Path) -> tuple[bool, float]:
    """Larger for the newer one of two logs; a pipe, a device and a link to nowhere are older than every file."""
    return (True, path.stat().st_mtime) if path.is_file() else (False, 0.0)


def read_log(path: Path) -> Log:
    """What the log `path` says.

    Raises:
        OSError: it cannot be read, or is a pipe or a device, which might never end.
    """
    reader = _LogReader()
    number, tail = 1, b""
    with open_file(path) as file:
        for block in _whole_lines(file):
            reader.read(block, number)
            number += block.count(b"\n")
            tail = (tail + block)[-_TAIL:]
    return reader.result(path, _last_line(tail, number))


def time_of(text: str) -> float | None:
    """Seconds since 1970 of the time that stands in a line, as its host's clock and this host's time zone have it."""
    match = _TIME.search(text)
    if match is None:
        return None
    try:
        year, month, day, hour, minute, second = (int(number) for number in match.groups()[:6])
        return datetime(year, month, day, hour, minute, second).timestamp() + float(f"0.{match[7] or 0}")
    except (ValueError, OverflowError):  # the 31st of February
        return None


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Blocks of a file that end with a line. What has no line's end for a whole block ends there."""
    rest = b""
    while block := file.read(_BLOCK):
        end = block.rfind(b"\n") + 1
        if end or len(rest) >= _BLOCK:
            yield rest + block[:end]
            rest = block[end:]
        else:
            rest += block
    if rest:
        yield rest


@dataclass(frozen=True)
class _Judgement:
    """What lines say that differ in unimportant numbers only."""

    has_findings: bool
    strength: int
    """0: no error; 1: by its words; 2: by its form."""


class _LogReader:
    """What has been found so far."""

    def __init__(self) -> None:
        self.findings: dict[str, Match] = {}
        """By the names of their rows; the first of each that is more than a heading."""
        self.warnings: dict[str, Match] = {}
        """The same in lines that are no errors."""
        self.survived: dict[str, Match] = {}
        """All those before the last sign that the process lives: it outlived them."""
        self.errors: dict[int, tuple[int, bytes]] = {}
        """Number and bytes of the last error of each strength."""
        self.card: str | None = None
        self.was_stopped = False
        self._worth: dict[bytes, Worth] = {}
        self._judged: dict[tuple[bytes, ...], _Judgement] = {}
        self._latest: deque[tuple[int, bytes]] = deque(maxlen=_NUM_LATEST)
        self._num_bytes = 0

    def read(self, block: bytes, first: int) -> None:
        """Look at whole lines, of which the first one has the number `first`."""
        lines: list[bytes] | None = None
        for index, bare in enumerate(block.translate(None, b"0123456789").split(b"\n")):
            worth = self._worth.get(bare)
            if worth is None:
                worth = self._value(bare)
            if worth is Worth.EVIDENCE:
                lines = lines or block.split(b"\n")
                self._look(lines[index][:MAX_LINE], bare[:MAX_LINE], first + index)
            elif worth is Worth.PROGRESS:
                self._has_come_further()

    def _value(self, bare: bytes) -> Worth:
        """What a line without its digits is worth."""
        worth = worth_of(bare)
        if self._num_bytes < _MAX_SEEN:
            self._num_bytes += len(bare)
            self._worth[bare] = worth
        return worth

    def _has_come_further(self) -> None:
        if self.findings or self.warnings or self.errors:
            self.survived |= self.warnings | self.findings
            self.findings = {name: match for name, match in self.findings.items() if match.failure.is_announced}
            self.warnings.clear()
            self.errors.clear()
            self._latest.clear()

    def _look(self, raw: bytes, bare: bytes, number: int) -> None:
        key = (bare, *_CODES.findall(raw))
        judgement = self._judged.get(key)
        if judgement is None:
            if len(self._judged) >= _MAX_JUDGED:
                self._latest.append((number, raw))
                return
            judgement = self._judged[key] = self._judge(Line(number, text_of(raw)))
        elif judgement.has_findings:
            self._judge(Line(number, text_of(raw)))
        if judgement.strength:
            self.errors[judgement.strength] = (number, raw)

    def _judge(self, line: Line) -> _Judgement:
        """Keep what `line` is evidence of."""
        found, text = find_in(line), line.text
        kept = self.warnings if is_quiet(text) else self.findings
        for finding in found:
            before = kept.get(finding.failure.name)
            if before is None or (is_no_news(before.at.text) and not is_no_news(text)):
                kept[finding.failure.name] = finding
        if self.card is None and (match := _CARD.search(text)):
            self.card = next(number for number in match.groups() if number)
        self.was_stopped = self.was_stopped or is_good_stop(text)
        return _Judgement(bool(found), strength_of(text))

    def result(self, path: Path, last: Line | None) -> Log:
        """What the whole log says."""
        for number, raw in self._latest:
            judgement = self._judge(Line(number, text_of(raw)))
            if judgement.strength:
                self.errors[judgement.strength] = (number, raw)
        where = self.errors.get(2) or self.errors.get(1)
        error = Line(where[0], text_of(where[1])) if where else None
        finding = self._cause()
        if finding is not None and error is not None and _is_not_the_end(finding, error):
            finding = None
        hints = {**self.survived, **self.warnings, **self.findings}
        hint = best(hints.values()) if finding is None else None
        named = [*self.findings.values(), *self.warnings.values()]
        card = next((match.groups["card"] for match in named if match.groups.get("card")), self.card)
        return Log(path, finding, error, last, 2 in self.errors, card, hint, self.was_stopped)

    def _cause(self) -> Match | None:
        """What it ended of: an error, or a warning of what the error came from."""
        found = best(self.findings.values())
        return best(warning for warning in self.warnings.values() if self._counts(warning, found)) or found

    def _counts(self, warning: Match, found: Match | None) -> bool:
        """Whether the process may have ended of what it only warned of; `found` is the best of its errors."""
        row = warning.failure
        if found is not None:
            is_same = found.failure is row and warning.at.number < found.at.number
            return is_same or found.failure.name in row.warns_of
        return 2 not in self.errors and (row.kind is not Kind.CAUSE or bool(row.warns_of))


def _is_not_the_end(finding: Match, error: Line) -> bool:
    """Whether the process went on after `finding` and ended of a mistake in its program, which `error` is."""
    is_mild = finding.failure.kind is not Kind.CAUSE
    return is_mild and error.number > finding.at.number and is_own_mistake(error.text)


def _last_line(tail: bytes, number: int) -> Line | None:
    """The last line of `tail`, which ends in line `number`, that says something and is no progress."""
    lines = tail.split(b"\n")
    for before, raw in enumerate(reversed(lines)):
        text = text_of(raw)
        if text and not is_progress(text) and not is_no_news(text):
            return Line(number - before, text)
    return None
