"""JSON in which every key is there once and every number can be computed with."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from pangu_alpha.reading.files import read_text
from pangu_alpha.reading.numbers import MAX_DIGITS


def read_json(path: Path) -> Any:
    """What the JSON file `path` holds.

    Raises:
        OSError: it cannot be read.
        ValueError: it is empty or cut off, not UTF-8, or not JSON as `parse_json` wants it.
    """
    return parse_json(read_text(path))


def parse_json(text: str) -> Any:
    """What `text` says in JSON.

    Raises:
        ValueError: it is not JSON, names a key twice, is nested too deeply, or holds a number of too many digits.
    """
    if not text.strip():
        raise ValueError("it is empty")
    try:
        return json.loads(text, object_pairs_hook=_without_repeats, parse_int=_whole)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        key = Counter(name for name, _ in pairs).most_common(1)[0][0]
        entry = ", ".join(f"{name}={value!r}" for name, value in pairs if isinstance(value, str | int))
        raise ValueError(f"{key!r} is there twice in the entry with {entry or 'no other values'}")
    return found


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise ValueError(f"the number {digits[:MAX_DIGITS]}… has {len(digits.lstrip('-')):,} digits")
    return int(digits)
