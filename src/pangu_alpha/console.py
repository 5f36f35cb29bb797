"""What long work shows: a bar on a terminal, plain lines when the output goes elsewhere. Everything goes to stderr."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PLAIN_INTERVAL = 10.0
"""Seconds between plain progress lines."""
SILENCE = 30.0
"""Seconds after which a plain line says that the work goes on, although nothing was finished."""
RECENT = 60.0
"""Seconds that the shown speed is of."""


def say(text: str) -> None:
    """Print a line for the person watching, apart from the command's own output on stdout."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def progress(description: str, total: float, unit: str, done: float = 0.0) -> Iterator[Callable[[float], None]]:
    """Show how far long work is, how fast it goes and how long it will still take.

    Args:
        description: what is being done, for example ``packing``.
        total: amount of work, in `unit`.
        unit: what is counted, for example ``tokens`` or ``bytes``.
        done: of it, by an earlier start; it does not count in the speed.

    Yields:
        A function to call with the amount done since the last call.
    """
    if sys.stderr.isatty():
        with _rich_bar(description, total, unit, done) as advance:
            yield advance
    else:
        with _PlainLines(description, total, unit, done) as lines:
            yield lines.advance


def signal_name(number: int) -> str:
    """What a person calls a signal."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


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
def _rich_bar(description: str, total: float, unit: str, done: float) -> Iterator[Callable[[float], None]]:
    # Imported here: rich takes 0.1 s, and verbs without long work should not pay for it.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{si(task.completed)} {unit}, {si(task.speed or 0.0)}/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.percentage:3.0f}%"),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=RECENT) as bar:
        task = bar.add_task(description, total=total, completed=int(done))
        yield lambda amount: bar.advance(task, amount)


class _PlainLines:
    """Lines for a log: now and then how far the work is, and a sign of life where nothing is finished for long."""

    def __init__(self, description: str, total: float, unit: str, done: float) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._before = self._done = done
        self._start = self._said = time.monotonic()
        self._recent = deque([(self._start, done)])
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def __enter__(self) -> _PlainLines:
        threading.Thread(target=self._live, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        seconds, amount = time.monotonic() - self._start, self._done - self._before
        rate = si(amount / seconds) if seconds else "-"
        word = "done" if kind is None else "stopped"
        say(f"{self._description}: {word}, {si(amount)} {self._unit} in {duration(seconds)} ({rate}/s)")

    def advance(self, amount: float) -> None:
        with self._lock:
            self._done += amount
            now = time.monotonic()
            self._recent.append((now, self._done))
            while now - self._recent[0][0] > RECENT and len(self._recent) > 2:
                self._recent.popleft()
            if now - self._said >= PLAIN_INTERVAL:
                self._say(now)

    def _live(self) -> None:
        while not self._ended.wait(PLAIN_INTERVAL):
            with self._lock:
                now = time.monotonic()
                if now - self._said >= SILENCE and not self._ended.is_set():
                    self._say(now)

    def _say(self, now: float) -> None:
        self._said = now
        (begin, before), (_, done) = self._recent[0], self._recent[-1]
        rate = (done - before) / (now - begin) if now > begin else 0.0
        left = f"{duration(max(self._total - done, 0.0) / rate)} left" if rate else f"for {duration(now - self._start)}"
        share = 100 * done / self._total if self._total else 100.0
        say(f"{self._description}: {share:.0f}%, {si(done)} {self._unit}, {si(rate)}/s, {left}")
