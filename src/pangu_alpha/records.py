"""Files of one JSON object a line, which processes append to and a killed one may leave torn."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pangu_alpha.files import flush, written_aside
from pangu_alpha.reading import open_file

Record = dict[str, Any]
_LINE_BYTES = 2048
"""Of a line, at most as a rule."""


def to_json(value: Any, indent: int | None = None) -> str:
    """Strict JSON, on one line unless indented: a number that is not finite, which JSON does not have, becomes null."""
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=indent)


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Add a line, and a line end before it if the file ends within a line."""
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, 2)
            torn = file.read(1) != b"\n"
            file.write(b"\n" * torn)
        file.write(to_json(dict(record)).encode() + b"\n")


def read_records(path: Path, report: Callable[[str], None] = lambda line: None) -> list[Record]:
    """The objects of a file, in order; no file has none. Lines that are no JSON object are left out.

    Args:
        path: of the file.
        report: gets a sentence that names such lines, but for a last one that was never ended.

    Raises:
        OSError: it cannot be read, or is a pipe or a device.
    """
    if not path.exists():
        return []
    with open_file(path) as file:
        lines = file.read().split(b"\n")
    found = [_record(line) for line in lines[:-1]]  # what follows the last line end is not complete
    damaged = [number for number, record in enumerate(found, start=1) if record is None]
    if damaged:
        shown = ", ".join(map(str, damaged[:5])) + (", …" if damaged[5:] else "")
        report(f"{path}: {len(damaged)} line(s) are damaged and left out: {shown}")
    return [record for record in found if record is not None]


def last_records(path: Path, count: int) -> list[Record]:
    """The last `count` objects of a file, in order, or fewer where lines are very long; of a long file only the end is
    read.

    Raises:
        OSError: it cannot be read, or is a pipe or a device.
    """
    if not path.exists():
        return []
    with open_file(path) as file:
        start = max(0, file.seek(0, 2) - count * _LINE_BYTES)
        file.seek(start)
        lines = file.read().split(b"\n")
    whole = lines[bool(start) : -1]  # the first one's beginning may not have been read
    return [record for record in map(_record, whole) if record is not None][-count:]


def _record(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def keep_records(path: Path, keep: Callable[[Record], bool], report: Callable[[str], None]) -> None:
    """Remove the records that `keep` refuses, and lines that are damaged; see `read_records`."""
    if path.exists():
        kept = [record for record in read_records(path, report) if keep(record)]
        with written_aside(path) as aside:
            aside.write_text("".join(to_json(record) + "\n" for record in kept), encoding="utf-8")
            flush(aside)  # it replaces what a whole run has written: that must outlive the machine, too


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def drop_after(path: Path, step: int, report: Callable[[str], None]) -> None:
    """Remove the records of steps after `step`, and what is damaged; see `read_records`."""
    keep_records(path, lambda record: isinstance(found := record.get("step", 0), int) and found <= step, report)
