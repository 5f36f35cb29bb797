"""What long work shows: a bar on a terminal, plain lines when the output goes elsewhere. Everything goes to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PLAIN_INTERVAL = 10.0
"""Seconds between plain progress lines."""


def say(text: str) -> None:
    """Print a line for the person watching, apart from the command's own output on stdout."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def progress(description: str, total: float, unit: str) -> Iterator[Callable[[float], None]]:
    """Show how far long work is, how fast it goes and how long it will still take.

    Args:
        description: what is being done, for example ``packing``.
        total: amount of work, in `unit`.
        unit: what is counted, for example ``tokens`` or ``bytes``.

    Yields:
        A function to call with the amount done since the last call.
    """
    if sys.stderr.isatty():
        with _rich_bar(description, total, unit) as advance:
            yield advance
    else:
        lines = _PlainLines(description, total, unit)
        yield lines.advance
        lines.finish()


def si(number: float) -> str:
    """`number` with a metric prefix and three digits: 1234567 → 1.23M."""
    for prefix in ("", "k", "M", "G", "T", "P", "E", "Z"):
        if abs(number) < 999.5 or prefix == "Z":
            break
        number /= 1000
    return f"{number:.3g}{prefix}"


def duration(seconds: float) -> str:
    """`seconds` as a person says it: 4.2 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


@contextmanager
def _rich_bar(description: str, total: float, unit: str) -> Iterator[Callable[[float], None]]:
    # Imported here: rich takes 0.1 s, and verbs without long work should not pay for it.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{si(task.completed)} {unit}, {si(task.speed or 0.0)}/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total)
        yield lambda amount: bar.advance(task, amount)


class _PlainLines:
    def __init__(self, description: str, total: float, unit: str) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._done = 0.0
        self._start = self._last = time.monotonic()

    def advance(self, amount: float) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._last >= PLAIN_INTERVAL:
            self._last = now
            rate = self._done / (now - self._start)
            left = duration(max(self._total - self._done, 0.0) / rate) if rate else "unknown"
            share = 100 * self._done / self._total if self._total else 100.0
            say(f"{self._description}: {share:.0f}%, {si(self._done)} {self._unit}, {si(rate)}/s, {left} left")

    def finish(self) -> None:
        seconds = time.monotonic() - self._start
        rate = si(self._done / seconds) if seconds else "-"
        say(f"{self._description}: done, {si(self._done)} {self._unit} in {duration(seconds)} ({rate}/s)")
