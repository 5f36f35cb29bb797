"""Files of settings, held against a schema, with errors that name the key and the nearest right one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pangu_alpha.errors import ConfigError
from pangu_alpha.reading.strict_yaml import read_yaml

_MAX_SHOWN = 200
"""Characters of a wrong value that are shown."""
_Schema = TypeVar("_Schema", bound=BaseModel)


def read_settings(path: Path, example: str) -> dict[str, Any]:
    """The settings in a YAML file; `example` is one of them.

    Raises:
        ConfigError: there is no such file, it is no valid YAML, or it holds something else.
    """
    try:
        values = read_yaml(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold settings like `{example}`, but it holds {type(values).__name__}")
    return values


def validated(
    schema: type[_Schema], values: Any, source: object, more_keys: Mapping[str, Iterable[str]] | None = None
) -> _Schema:
    """`values` as a `schema`.

    Args:
        schema: what they must be.
        values: read from a file.
        source: its name, with which messages begin.
        more_keys: that a section may have in the file and not in the schema, by section.

    Raises:
        ConfigError: an unknown or missing key, or a wrong value; all of them are told.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        problems = "\n".join(f"  {_explain(schema, detail, more_keys or {})}" for detail in error.errors())
        raise ConfigError(f"{source}:\n{problems}") from error


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest of the `known` words, and all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return (f"did you mean {close[0]!r}? " if close else "") + f"Known: {', '.join(names)}"


def shown(value: object) -> str:
    """`value` as it is written in Python, cut off where it is long."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}… ({len(text):,} characters)"


def _explain(schema: type[BaseModel], detail: Any, more_keys: Mapping[str, Iterable[str]]) -> str:
    location = [str(part) for part in detail["loc"]]
    where = ".".join(location) or "the settings together"
    if detail["type"] == "extra_forbidden":
        known = [*_keys_at(schema, location[:-1]), *more_keys.get(".".join(location[:-1]), ())]
        return f"unknown key {where}: {did_you_mean(location[-1], known)}"
    if detail["type"] == "missing":
        return f"{where} is missing"
    if detail["type"] == "value_error":
        return f"{where}: {detail['ctx']['error']}"
    return f"{where} = {shown(detail['input'])}: {detail['msg'][0].lower()}{detail['msg'][1:]}"


def _keys_at(schema: type[BaseModel], location: Sequence[str]) -> list[str]:
    for part in location:
        if part not in schema.model_fields:  # an index into a tuple of sections, or the name of one of many
            continue
        annotation = schema.model_fields[part].annotation
        for candidate in (annotation, *getattr(annotation, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                schema = candidate
    return list(schema.model_fields)
