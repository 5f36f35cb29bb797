"""What one line of a log is by its form: an error, a warning, a sign that the process lives, or nothing."""

from __future__ import annotations

import re
from enum import Enum, auto

MAX_LINE = 4096
"""Bytes of a line that are looked at."""
_HINT = re.compile(
    rb"(?i)error|fail|fault|remoteuserrank|errno|out of range|signal: |dumped|"
    rb"exception|fatal|critical|abort|interrupt|denied|cannot|can't|invalid|inconsistent|different|"
    rb"\bnot\b|tim(?:e|ed|es)[ -]?out|\blost\b|\bdown\b|memory|kill|oom|\becc\b|redundant|occup|quota|\bspace\b|"
    rb"\btoo\b|busy|pangu: |evicted|preempted|deadline|cancelled|due to |low on resource|undefined|devid|stuck|stale|"
    rb"unreachable|no route|smaller|more than|overflow|result|insufficient|fork|repeatedly|terminate|"
    rb"^stopped at step |\bE[A-Z1-9]?\d*(?:[:)\[ ]|$)"
)
"""A line without any of these is no evidence. It is looked for in lines that have lost their digits."""
_PROGRESS = (b"step ", b"training: ", b"checkpoint of step ", b"compiling; ", b"going on after step ")
"""Beginnings of lines that a rank prints when it has come further."""
_ALIVE = re.compile(
    rb"(?<!not )successfully (?:initialized|registered|connected|reconnected)|\bgo(?:es|ing) on\b"
    rb"|\b(?:recovered|reconnected|continuing)\b"
)
"""What a remark or a warning says, in small letters, of a process that goes on after what it has complained of."""
_ALIVE_WORDS = (b"successfully ", b"ing on", b"es on", b"recovered", b"reconnected", b"continuing")
"""Without one of them, which are found faster, there is none of those."""
_PROGRESS_LINE = re.compile(r"(?:step \d|training: |checkpoint of step |compiling; |loading\b)|.*\d+%\|.*\|")
_STOPPED = re.compile(r"stopped at step \d|pangu: stopped by Ctrl-C")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_ADVICE = re.compile(r"(?:Possible Cause|Solution|Suggest(?:ion)?) ?:.*")
"""What CANN adds to a message: it names every possible reason."""
_LEVEL = re.compile(
    r"\[(?:(?P<quiet>WARNING|WARN|INFO|DEBUG|EVENT|TRACE)|ERROR|CRITICAL|EXCEPTION|FATAL|Error)\]"
    r"|\b(?:(?P<quiet_word>INFO|WARNING|WARN|DEBUG|\w*[Ww]arning(?=:))|ERROR|CRITICAL|FATAL)\b"
)
"""The first one is the line's; what follows is its text."""
_MAX_LEVEL = 160
"""Characters of a line that its level is among: paths and times stand before it."""
_EXCEPTION = r"^(?:\[?[\w .:=-]+[\])]:? *)?(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)\b(?:: *\S|$)"
_RAISED = re.compile(_EXCEPTION)
_DEATH = (
    r"^F\d{4} \d\d:\d\d:|^terminate called\b|^Fatal Python error\b"
    r"|^(?:Aborted|Bus error|Floating point exception|Illegal instruction|Killed|Segmentation fault)!?"
    r"(?: \(core dumped\))?$"
)
"""The last words of a process of its runtime (glog, C++, Python), or its shell's."""
_STRONG = re.compile(
    rf"\[(?:ERROR|CRITICAL|EXCEPTION|FATAL|Error)\]|\bERROR\b|\bCRITICAL\b|\bFATAL\b|{_DEATH}"
    rf"|{_EXCEPTION}|\b(?:E[A-Z1-9]\d{{4}}|EE8888)\b"
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


class Worth(Enum):
    """What lines that differ in digits only are worth."""

    NOTHING = auto()
    PROGRESS = auto()
    EVIDENCE = auto()


def worth_of(bare: bytes) -> Worth:
    """What a line without its digits is worth."""
    if bare.startswith(_PROGRESS) or _says_that_it_lives(bare[:MAX_LINE]):
        return Worth.PROGRESS
    return Worth.EVIDENCE if _HINT.search(bare, 0, MAX_LINE) else Worth.NOTHING


def _says_that_it_lives(bare: bytes) -> bool:
    small = bare.lower()
    if not any(word in small for word in _ALIVE_WORDS):
        return False
    return _ALIVE.search(small) is not None and is_quiet(text_of(bare))


def text_of(raw: bytes) -> str:
    """A line as text: without colours, what a bar has overwritten, and CANN's list of possible reasons."""
    raw = raw.rstrip(b"\r\n")
    raw = raw[raw.rfind(b"\r") + 1 :][:MAX_LINE]
    for encoding in ("utf-8", "gb18030"):
        try:
            text = raw.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        text = raw.decode(errors="replace")
    return _ADVICE.sub("", _CONTROL.sub("", text)).strip()


def is_quiet(text: str) -> bool:
    """Whether a line is a warning or a remark by its level: the process went on after it."""
    level = _LEVEL.search(text, 0, _MAX_LEVEL)
    return level is not None and not _RAISED.match(text) and any(level.groupdict().values())


def strength_of(text: str) -> int:
    """How sure it is that a line is an error. 0: it is none; 1: by its words; 2: by its form."""
    if not text or _NO_NEWS.match(text) or is_quiet(text):
        return 0
    return 2 if _STRONG.search(text) else 1 if _WEAK.search(text) else 0


def is_no_news(text: str) -> bool:
    """Whether a line is one of a traceback, which says where and not what, or a heading."""
    return _NO_NEWS.match(text) is not None


def is_progress(text: str) -> bool:
    """Whether a line only says how far a rank is."""
    return _PROGRESS_LINE.match(text) is not None


def is_own_mistake(text: str) -> bool:
    """Whether a line is what Python says of a mistake in a program."""
    return _OWN_MISTAKE.search(text) is not None


def is_good_stop(text: str) -> bool:
    """Whether a line is what this package says when it was stopped and has saved what there was to save."""
    return _STOPPED.match(text) is not None
