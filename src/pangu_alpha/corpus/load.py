"""Reading a corpus recipe: its preset, what it replaces, and errors that name the right key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pangu_alpha.corpus.recipe import Recipe
from pangu_alpha.corpus.rules.words import list_path
from pangu_alpha.errors import ConfigError
from pangu_alpha.reading.strict_yaml import read_yaml

PRESETS = Path(__file__).parent / "presets"


def list_presets() -> list[str]:
    """Names of the shipped presets, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_recipe(recipe: str | Path) -> Recipe:
    """The recipe of a YAML file, or the preset of that name.

    Raises:
        ConfigError: no such file or preset, no valid YAML, an unknown key, rule or parameter, a wrong value.
    """
    path = Path(recipe)
    if not path.is_file():
        if str(recipe) not in list_presets():
            raise ConfigError(f"no corpus recipe {str(recipe)!r}: {did_you_mean(str(recipe), list_presets())}")
        path = PRESETS / f"{recipe}.yaml"
    values = _expand(_read(path), path)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problems = "\n".join(f"  {_explain(detail)}" for detail in error.errors())
        raise ConfigError(f"{path}:\n{problems}") from error


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest of the `known` words, and all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return (f"did you mean {close[0]!r}? " if close else "") + f"Known: {', '.join(names)}"


def _read(path: Path) -> dict[str, Any]:
    try:
        values = read_yaml(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold settings like `preset: pangu_alpha_2021`, not {type(values).__name__}")
    return values


def _expand(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """`values` over those of their preset: a rule that is null is left out, one that is named keeps the others."""
    own = dict(values)
    preset = own.pop("preset", None)
    if preset is not None:
        if preset not in list_presets():
            raise ConfigError(f"{path}: preset {preset!r} is unknown: {did_you_mean(str(preset), list_presets())}")
        base = _read(PRESETS / f"{preset}.yaml")
        sources = own.pop("sources", base.get("sources"))
        own = _merge(base, own) | ({"sources": sources} if sources is not None else {})
    if isinstance(own.get("rules"), dict):
        own["rules"] = {name: _absolute(rule) for name, rule in own["rules"].items() if rule is not None}
    return own


def _absolute(settings: Any) -> Any:
    """`settings` of a rule with the paths of its files from the root: a worker may have another working directory."""
    if not isinstance(settings, dict):
        return settings
    files = {key: settings[key] for key in ("words", "model") if isinstance(settings.get(key), str)}
    return {**settings, **{key: str(list_path(name).absolute()) for key, name in files.items()}}


def _merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _explain(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"]) or "the settings together"
    if detail["type"] == "extra_forbidden":
        return f"unknown key {where}: {did_you_mean(str(detail['loc'][-1]), _keys(detail['loc'][:-1]))}"
    if detail["type"] == "value_error":
        return f"{where}: {detail['ctx']['error']}"
    return f"{where} = {str(detail['input'])[:200]!r}: {detail['msg'][0].lower()}{detail['msg'][1:]}"


def _keys(location: tuple[Any, ...]) -> list[str]:
    schema = Recipe.model_json_schema()
    known = [schema, *schema["$defs"].values()]
    for part in location:
        found = [entry["properties"][part] for entry in known if part in entry.get("properties", {})]
        names = {name for entry in found for name in schema["$defs"] if f"/{name}'" in str(entry)}
        known = [schema["$defs"][name] for name in sorted(names)] or known
    return [key for entry in known[:1] for key in entry["properties"]]
