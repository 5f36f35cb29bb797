"""Reading a recipe: YAML file or name, then dotted overrides, then validation with errors that help.

A recipe is looked for as a path, then by name in `configs/` of this project.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pangu_alpha.config.presets import MODEL_PRESETS
from pangu_alpha.config.schema import RunConfig
from pangu_alpha.config.validating import did_you_mean, read_settings, shown, validated
from pangu_alpha.errors import ConfigError
from pangu_alpha.reading.strict_yaml import parse_yaml

_PACKAGE = Path(__file__).resolve().parent.parent
RECIPES = next(
    (folder for folder in (_PACKAGE / "configs", _PACKAGE.parent.parent / "configs") if folder.is_dir()),
    Path("configs"),
)
"""The shipped recipes: inside an installed wheel, or beside `src/` in a checkout."""


def list_recipes() -> list[str]:
    """Names of the shipped recipes, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_config(recipe: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The settings of `recipe` (a YAML file or the name of a shipped one) with `overrides` like `train.steps=200`.

    Raises:
        ConfigError: no such recipe, no valid YAML, an unknown key, a wrong value, or values that contradict each other.
    """
    path = _find_recipe(recipe)
    return build_config(read_settings(path, "train: {steps: 200}"), overrides, source=str(path))


def override(name: str, value: object) -> str:
    """`section.key=value` as `load_config` takes it, whatever is in the value: a path may hold what YAML would read."""
    return f"{name}={json.dumps(value, ensure_ascii=False, default=str)}"


def build_config(values: dict[str, Any], overrides: Sequence[str] = (), source: str = "settings") -> RunConfig:
    """Validate nested `values`, after applying `overrides` to them.

    Raises:
        ConfigError: as in `load_config`; messages begin with `source`.
    """
    values = copy.deepcopy(values)
    for override in overrides:
        _apply_override(values, override)
    _expand_model_preset(values, source)
    return validated(RunConfig, values, source, {"model": ["preset"]})


def _find_recipe(recipe: str | Path) -> Path:
    for path in (Path(recipe), RECIPES / f"{recipe}.yaml"):
        if path.is_file():
            return path
    raise ConfigError(f"no recipe {str(recipe)!r}: {did_you_mean(str(recipe), list_recipes())}")


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"override {override!r} is not of the form section.key=value, for example train.steps=200")
    *sections, last = key.split(".")
    for section in sections:
        child = values.setdefault(section, {})
        if not isinstance(child, dict):
            raise ConfigError(f"override {override!r}: {section!r} is a value, not a section")
        values = child
    try:
        value = parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"override {shown(override)}: the value is not valid YAML: {error}") from error
    is_quoted = text.lstrip()[:1] in ("'", '"')
    values[last] = value if is_quoted else _number_or_same(value)


def _number_or_same(value: Any) -> Any:
    # YAML 1.1 reads 1e-4 (without a dot) as a string. `nan` and `inf` are words: a run may be called so.
    if isinstance(value, str) and any(character.isdigit() for character in value):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _expand_model_preset(values: dict[str, Any], source: str) -> None:
    model = values.get("model")
    if not isinstance(model, dict) or "preset" not in model:
        return
    own = dict(model)
    preset = own.pop("preset")
    if not isinstance(preset, str) or preset not in MODEL_PRESETS:
        raise ConfigError(f"{source}: model.preset {preset!r} is unknown: {did_you_mean(str(preset), MODEL_PRESETS)}")
    values["model"] = {**MODEL_PRESETS[preset], **own}
