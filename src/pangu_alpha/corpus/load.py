"""Reading a corpus recipe: its preset, what it replaces, and errors that name the right key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pangu_alpha.config.validating import did_you_mean, read_settings, validated
from pangu_alpha.corpus.recipe import Recipe
from pangu_alpha.corpus.rules.words import list_path
from pangu_alpha.errors import ConfigError

PRESETS = Path(__file__).parent / "presets"
_EXAMPLE = "preset: pangu_alpha_2021"


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
    return validated(Recipe, _expand(read_settings(path, _EXAMPLE), path), path, {"": ["preset"]})


def _expand(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """`values` over those of their preset: a rule that is null is left out, one that is named keeps the others."""
    own = dict(values)
    preset = own.pop("preset", None)
    if preset is not None:
        if preset not in list_presets():
            raise ConfigError(f"{path}: preset {preset!r} is unknown: {did_you_mean(str(preset), list_presets())}")
        base = read_settings(PRESETS / f"{preset}.yaml", _EXAMPLE)
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
