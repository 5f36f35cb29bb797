"""What may stand nowhere in a rank table, whatever its format, though JSON can say it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

_WORDS = (
    "host_ip", "host_port", "device_port", "device_vnic_port", "backup_device_ip", "backup_device_port", "pod_name",
)  # fmt: skip
"""Fields that the forms leave as they are and the checks compare: each is one word or number."""
_MAX_DEPTH = 50
"""Of nesting: the deepest of the formats has 8."""
_MAX_SHOWN = 60
"""Characters of a name or a value that are shown."""


def find_odd_values(document: Any) -> Iterator[tuple[str, str, str]]:
    """What is wrong with a value, where it stands, and the way out; for each such value in `document`."""
    waiting: list[tuple[Any, str, int]] = [(document, "", 0)]
    while waiting:
        value, where, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            yield f"is nested more than {_MAX_DEPTH} deep", where[:_MAX_SHOWN], "remove what is inside"
        elif isinstance(value, dict):
            for key, inner in value.items():
                place = f"{where}.{_shown(key)}" if where else _shown(key)
                if not _is_text(key):
                    yield "the name of the field is no text: it has half of a character", place, "correct it"
                elif key in _WORDS and isinstance(inner, dict | list):
                    kind = "an object" if isinstance(inner, dict) else "a list"
                    yield f"{str(inner)[:_MAX_SHOWN]} is {kind}", place, "write one word or number there"
                else:
                    waiting.append((inner, place, depth + 1))
        elif isinstance(value, list):
            waiting += [(inner, f"{where}[{number}]", depth + 1) for number, inner in enumerate(value)]
        elif isinstance(value, str) and not _is_text(value):
            what = f"{value[:_MAX_SHOWN]!r} is no text: it has half of a character, \\ud800 to \\udfff"
            yield what, where, "correct it: no file can hold it"
        elif isinstance(value, float) and not math.isfinite(value):
            yield f"{value} is no number that JSON has", where, "correct it"


def _is_text(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _shown(key: str) -> str:
    return key[:_MAX_SHOWN] if key.isprintable() and key else repr(key[:_MAX_SHOWN])
