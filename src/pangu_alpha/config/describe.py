"""Writes the page `docs/settings.md` from the schema.

`python -m pangu_alpha.config.describe > docs/settings.md` makes it again.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pangu_alpha.config.schema import RunConfig
from pangu_alpha.config.sections import Settings

_HEAD = """\
# Settings

Made from `config/sections.py` by `python -m pangu_alpha.config.describe > docs/settings.md`; a test compares.

A recipe is a YAML file of these settings; `section.key=value` on a command line replaces one of them, and an unknown
key is refused with the nearest right one. `pangu config show NAME --yaml` prints what a recipe comes to.
`model.preset` (`tiny`, `350m`, `2b6`, `13b`, `200b`) fills in the sizes of a network; other keys of `model` replace
them.
"""


def settings_page() -> str:
    """The page, in Markdown: a table for each section, and for the entries of lists, after what holds them."""
    lines = [_HEAD]
    for title, section in _sections("", RunConfig):
        lines += [
            f"## {title or 'The run'}",
            "",
            *(section.__doc__ or "").strip().splitlines(),
            "",
            _row("key", "values", "default", "what it says"),
            _row(*["---"] * 4),
        ]
        prefix = f"{title}." if title else ""
        lines += [
            _row(f"`{prefix}{name}`", _values(field), _default(field), _text(field))
            for name, field in section.model_fields.items()
            if _section_of(field) is None
        ]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _sections(prefix: str, section: type[Settings]) -> Iterator[tuple[str, type[Settings]]]:
    yield prefix, section
    for name, field in section.model_fields.items():
        inner = _section_of(field) or _item_of(field)
        if inner is not None:
            path = f"{prefix}.{name}" if prefix else name
            yield from _sections(path if _section_of(field) else f"{path}[i]", inner)


def _section_of(field: FieldInfo) -> type[Settings] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Settings) else None


def _item_of(field: FieldInfo) -> type[Settings] | None:
    """The settings of an entry, where the field is a list of them."""
    first = next(iter(get_args(field.annotation)), None)
    is_settings = isinstance(first, type) and issubclass(first, Settings)
    return first if get_origin(field.annotation) is tuple and is_settings else None


def _values(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = (
        f"{sign} {getattr(item, name):.10g}"
        for item in field.metadata
        for name, sign in signs.items()
        if hasattr(item, name)
    )
    return ", ".join([_kind(field.annotation), *limits])


def _kind(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " · ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(item) for item in inner)
    if origin is tuple:
        if get_origin(inner[0]) is tuple:
            return f"list of [{', '.join(map(_kind, get_args(inner[0])))}]"
        is_settings = isinstance(inner[0], type) and issubclass(inner[0], Settings)
        return "list of entries, below" if is_settings else f"list of {_kind(inner[0])}"
    return {
        int: "whole number",
        float: "number",
        bool: "`true` · `false`",
        str: "text",
        Path: "path",
        type(None): "nothing",
    }[kind]


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is PydanticUndefined:
        return "must be given"
    if default is None or default == ():
        return "nothing" if default is None else "none"
    if isinstance(default, tuple):
        return ", ".join(f"`{one}`" for one in default)
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:.10g}`" if isinstance(default, float) else f"`{default}`"


def _text(field: FieldInfo) -> str:
    return " ".join((field.description or "").split()).replace("|", "\\|")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.write(settings_page())
