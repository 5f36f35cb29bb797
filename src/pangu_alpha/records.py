"""Files of one JSON object a line, which processes append to and a killed one may leave torn."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pangu_alpha.files import flush, written_aside

Record = dict[str, Any]


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
    """
    if not path.exists():
        return []
    records, damaged = [], []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last line end is not complete
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            records.append(record)
        else:
            damaged.append(number)
    if damaged:
        shown = ", ".join(map(str, damaged[:5])) + (", …" if damaged[5:] else "")
        report(f"{path}: {len(damaged)} line(s) are damaged and left out: {shown}")
    return records


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
