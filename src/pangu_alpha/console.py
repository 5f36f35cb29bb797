"""What long work shows: a bar on a terminal, plain lines when the output goes elsewhere. Everything goes to stderr."""

from __future__ import annotations

import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

PLAIN_INTERVAL = 10.0
"""Seconds between plain progress lines."""
_RECENT = 60.0
"""Seconds that a plain line's speed looks back."""


def say(text: str) -> None:
    """Print a line for the person watching, apart from the command's own output on stdout.

    Work goes on when nobody can be told: a log on a full disk must not end a training.
    """
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def write_data(data: bytes) -> None:
    """Write to stdout what another program reads, at once and as it is, whatever the encoding of the terminal."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


@contextmanager
def progress(
    description: str, total: float, unit: str, done: int = 0, *, slow_start: bool = False
) -> Iterator[Callable[[float], None]]:
    """Show how far long work is, how fast it goes and how long it will still take.

    Args:
        description: what is being done, for example ``packing``.
        total: amount of work, in `unit`.
        unit: what is counted, for example ``tokens`` or ``bytes``.
        done: amount that an earlier start has done; neither counted nor part of the speed.
        slow_start: whether something is compiled before the first amount is done, so that it says nothing of the speed.

    Yields:
        A function to call with the amount done since the last call; with 0 it shows that the work goes on.
    """
    if sys.stderr.isatty():
        with _rich_bar(description, total, unit, done) as advance:
            yield advance
    else:
        lines = _PlainLines(description, total, unit, done, slow_start)
        yield lines.advance
        lines.finish()


def signal_name(number: int) -> str:
    """What a person calls a signal that asks a training to stop."""
    # While a graph runs, MindSpore turns the signal of Ctrl-C into SIGTERM.
    return "Ctrl-C" if number == signal.SIGINT else "Ctrl-C or SIGTERM"


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
def _rich_bar(description: str, total: float, unit: str, done: int) -> Iterator[Callable[[float], None]]:
    # Imported here: rich takes 0.1 s, and verbs without long work should not pay for it.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{si(task.completed - done)} {unit}, {si(task.speed or 0.0)}/s", no_wrap=True)

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),  # a terminal of 80 columns has room for it and the rest
        TextColumn("{task.percentage:3.0f}%"),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total, completed=done)
        yield lambda amount: bar.advance(task, amount)


class _PlainLines:
    """A line every `PLAIN_INTERVAL` seconds, with the speed since some `_RECENT` seconds ago."""

    def __init__(self, description: str, total: float, unit: str, before: int, slow_start: bool) -> None:
        self._description, self._total, self._unit, self._before = description, total, unit, before
        self._slow_start = slow_start
        self._done = 0.0
        self._start = self._last = time.monotonic()
        self._recent = deque([(self._start, 0.0)], maxlen=1 + round(_RECENT / PLAIN_INTERVAL))

    def advance(self, amount: float) -> None:
        self._done += amount
        now = time.monotonic()
        if self._slow_start and self._done:
            self._slow_start = False
            self._recent.clear()
            self._recent.append((now, self._done))
            self._last = now
            return
        if now - self._last >= PLAIN_INTERVAL:
            self._last = now
            then, done_then = self._recent[0]
            rate = (self._done - done_then) / (now - then)
            self._recent.append((now, self._done))
            done = self._before + self._done
            left = f"{duration(max(self._total - done, 0.0) / rate)} left" if rate else duration(now - self._start)
            share = 100 * done / self._total if self._total else 100.0
            say(f"{self._description}: {share:.0f}%, {si(self._done)} {self._unit}, {si(rate)}/s, {left}")

    def finish(self) -> None:
        seconds = time.monotonic() - self._start
        rate = si(self._done / seconds) if seconds else "-"
        say(f"{self._description}: done, {si(self._done)} {self._unit} in {duration(seconds)} ({rate}/s)")
