"""The logs of a job: which file is whose, and what one file of any size says, read once in bounded memory."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO

from pangu_alpha.cluster.watching.failure import Kind, Line, Match
from pangu_alpha.cluster.watching.known_failures import best, find_in

MAX_SHOWN = 400
"""Characters of a line that are shown."""
_BLOCK = 1 << 20
"""Bytes that are read at once."""
_MAX_LINE = 4096
"""Bytes of a line that are looked at."""
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
_HINT = re.compile(
    rb"(?i)error|fail|fault|remoteuserrank|errno|out of range|signal: |dumped|"
    rb"exception|fatal|critical|abort|interrupt|denied|cannot|can't|invalid|inconsistent|different|"
    rb"\bnot\b|tim(?:e|ed|es)[ -]?out|\blost\b|\bdown\b|memory|kill|oom|\becc\b|redundant|occup|quota|\bspace\b|"
    rb"\btoo\b|busy|pangu: |evicted|cancelled|due to |low on resource|undefined|devid|stuck|stale|unreachable|no route|"
    rb"smaller|more than|overflow|result|insufficient|fork|repeatedly|terminate|\bE[A-Z1-9]?\d*(?:[:)\[ ]|$)"
)
"""A line without any of these is no evidence. It is looked for in lines that have lost their digits."""
_PROGRESS = (b"step ", b"training: ", b"checkpoint of step ")
"""Beginnings of lines that a rank prints when it has come further."""
_PROGRESS_LINE = re.compile(r"(?:step \d|training: |checkpoint of step |compiling; |loading\b)|.*\d+%\|.*\|")
_CODES = re.compile(rb"E[A-Z1-9]\d{4}|[125]0\d{4}|\(\d+/\d+\)")
"""The numbers that make a difference."""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_ADVICE = re.compile(r"(?:Possible Cause|Solution|Suggest(?:ion)?) ?:.*")
"""What CANN adds to a message: it names every possible reason."""
_QUIET = re.compile(r"\[(?:WARNING|WARN|INFO|DEBUG|EVENT|TRACE)\]|\bINFO\b|\bWARNING\b")
_CODE = r"\b(?:E[A-Z1-9]\d{4}|EE8888)\b"
_STRONG = re.compile(
    r"\[(?:ERROR|CRITICAL|EXCEPTION|FATAL|Error)\]|\bERROR\b|\bCRITICAL\b|\bFATAL\b"
    rf"|^(?:\[?[\w .:=-]+[\])]:? *)?(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)\b(?:: *\S|$)|{_CODE}"
)
"""A line that says by its form that it is an error."""
_WEAK = re.compile(
    r"(?i)\b(?:errors?|fail(?:ed|ure|s)?|fatal|exceptions?|abort(?:ed)?|killed|core dumped|segmentation fault|cannot|"
    r"could not|can't|refused|denied|timed out|out of memory|not found|invalid)\b"
)
_NO_NEWS = re.compile(
    r"\s*File \"|\s*(?:raise|return) |.*Trace[Bb]ack \(most recent call last\)|.*Call Stack: \(For |-+$"
    r"|.{0,20}E[A-Z1-9]\d{4}: Inner Error[!,].{0,50}$|.*- (?:Ascend|Framework) Error Message"
)
"""Lines of a traceback, which say where and not what, and headings."""
_OWN_MISTAKE = re.compile(
    r"^(?:\S+ )?(?:\w+\.)*(?:Key|Index|Value|Type|Attribute|Name|Assertion|ZeroDivision|Unicode\w+|Recursion|Syntax|"
    r"NotImplemented|JSONDecode|Overflow|UnboundLocal)Error\b"
)
"""What Python says of a mistake in a program; the loss of a card or of a rank is a RuntimeError."""
_CARD = re.compile(
    r"device\(chipId:(\d+)|\(PID:\d+, Device:(\d+), RankID|\bdevice_?[iI]d[=:] ?(\d+)|\bdevId[=:](\d+)"
    r"|Device\[(\d+)\] lost|Device\(id:(\d+)\)|\bDevice (\d+) call"
)
_TIME = re.compile(r"(20\d\d)-(\d\d)-(\d\d)[-T ](\d\d):(\d\d):(\d\d)(?:[:.,](\d{1,3}))?")


@dataclass(frozen=True)
class Log:
    """What the log of one process says."""

    path: Path
    finding: Match | None = None
    """The known failure that tells most, of those after the last sign of progress."""
    last_error: Line | None = None
    """The last line that looks like an error, after the last sign of progress."""
    last: Line | None = None
    """The last line that is no progress."""
    is_strong: bool = False
    """Whether `last_error` is one by its form, not only by its words."""
    card: str | None = None
    """Number of the card that its messages name as its own."""

    def quote(self, line: Line) -> str:
        """`line` with the place where it is, which may be long and costs the line nothing."""
        return f"{self.path}:{line.number}: {line.text[:MAX_SHOWN]}"


def find_logs(folder: Path) -> dict[str, Path]:
    """The logs in `folder` by the names of their processes; of two logs of one rank the newer one."""
    logs: dict[str, Path] = {}
    for path in folder.glob("*.log"):
        match = _NAME.fullmatch(path.stem)
        name = "scheduler" if path.stem == "scheduler" else f"rank {int(match[1])}" if match else ""
        if name and (name not in logs or path.stat().st_mtime > logs[name].stat().st_mtime):
            logs[name] = path
    return logs


def read_log(path: Path) -> Log:
    """What the log `path` says.

    Raises:
        OSError: it cannot be read.
    """
    reader = _LogReader()
    number, tail = 1, b""
    with path.open("rb") as file:
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


class _What(Enum):
    """What lines that differ in digits only are worth."""

    NOTHING = auto()
    PROGRESS = auto()
    EVIDENCE = auto()


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
        self.survived: dict[str, Match] = {}
        """Those before the last sign of progress: the process outlived them."""
        self.errors: dict[int, tuple[int, bytes]] = {}
        """Number and bytes of the last error of each strength."""
        self.card: str | None = None
        self._worth: dict[bytes, _What] = {}
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
            if worth is _What.EVIDENCE:
                lines = lines or block.split(b"\n")
                self._look(lines[index][:_MAX_LINE], bare[:_MAX_LINE], first + index)
            elif worth is _What.PROGRESS:
                self._has_come_further()

    def _value(self, bare: bytes) -> _What:
        """What a line without its digits is worth."""
        if bare.startswith(_PROGRESS):
            worth = _What.PROGRESS
        else:
            worth = _What.EVIDENCE if _HINT.search(bare, 0, _MAX_LINE) else _What.NOTHING
        if self._num_bytes < _MAX_SEEN:
            self._num_bytes += len(bare)
            self._worth[bare] = worth
        return worth

    def _has_come_further(self) -> None:
        if self.findings or self.errors:
            self.survived.update(self.findings)
            self.findings.clear()
            self.errors.clear()
            self._latest.clear()

    def _look(self, raw: bytes, bare: bytes, number: int) -> None:
        key = (bare, *_CODES.findall(raw))
        judgement = self._judged.get(key)
        if judgement is None:
            if len(self._judged) >= _MAX_JUDGED:
                self._latest.append((number, raw))
                return
            judgement = self._judged[key] = self._judge(Line(number, _text(raw)))
        elif judgement.has_findings:
            self._judge(Line(number, _text(raw)))
        if judgement.strength:
            self.errors[judgement.strength] = (number, raw)

    def _judge(self, line: Line) -> _Judgement:
        """Keep what `line` is evidence of."""
        found, text = find_in(line), line.text
        for finding in found:
            before = self.findings.get(finding.failure.name)
            if before is None or (_NO_NEWS.match(before.at.text) and not _NO_NEWS.match(text)):
                self.findings[finding.failure.name] = finding
        if self.card is None and (match := _CARD.search(text)):
            self.card = next(number for number in match.groups() if number)
        if not text or _NO_NEWS.match(text) or _QUIET.search(text):
            return _Judgement(bool(found), 0)
        return _Judgement(bool(found), 2 if _STRONG.search(text) else 1 if _WEAK.search(text) else 0)

    def result(self, path: Path, last: Line | None) -> Log:
        """What the whole log says."""
        for number, raw in self._latest:
            judgement = self._judge(Line(number, _text(raw)))
            if judgement.strength:
                self.errors[judgement.strength] = (number, raw)
        finding = best(self.findings.values())
        if finding is None and not self.errors:
            finding = best(self.survived.values())
        card = next((f.groups["card"] for f in self.findings.values() if f.groups.get("card")), self.card)
        where = self.errors.get(2) or self.errors.get(1)
        error = Line(where[0], _text(where[1])) if where else None
        if finding is not None and error is not None and _is_not_the_end(finding, error):
            finding = None
        return Log(path, finding, error, last, 2 in self.errors, card)


def _is_not_the_end(finding: Match, error: Line) -> bool:
    """Whether the process went on after `finding` and ended of a mistake in its program, which `error` is."""
    is_mild = finding.failure.kind is not Kind.CAUSE or _QUIET.search(finding.at.text) is not None
    return is_mild and error.number > finding.at.number and _OWN_MISTAKE.search(error.text) is not None


def _text(raw: bytes) -> str:
    """A line as text: without colours, what a bar has overwritten, and CANN's list of possible reasons."""
    raw = raw.rstrip(b"\r\n")
    raw = raw[raw.rfind(b"\r") + 1 :][:_MAX_LINE]
    for encoding in ("utf-8", "gb18030"):
        try:
            text = raw.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        text = raw.decode(errors="replace")
    return _ADVICE.sub("", _CONTROL.sub("", text)).strip()


def _last_line(tail: bytes, number: int) -> Line | None:
    """The last line of `tail`, which ends in line `number`, that says something and is no progress."""
    lines = tail.split(b"\n")
    for before, raw in enumerate(reversed(lines)):
        text = _text(raw)
        if text and not _PROGRESS_LINE.match(text) and not _NO_NEWS.match(text):
            return Line(number - before, text)
    return None
