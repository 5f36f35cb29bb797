"""The file that `pangu plan --write` writes: the best layout's recipe, as a training accepts it today."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.console import say
from pangu_alpha.errors import ConfigError

if TYPE_CHECKING:
    from pangu_alpha.config import RunConfig


def write_recipe(name: str, recipe: RunConfig, best: RunConfig, path: Path) -> None:
    """Write the best layout's recipe, read it as a user would, and say what a training would refuse of it.

    Args:
        name: of the recipe that the search began with.
        recipe: that recipe.
        best: the recipe with the layout that was found.
        path: of the new file.

    Raises:
        ConfigError: the file cannot be written.
    """
    import yaml

    from pangu_alpha.config import load_config
    from pangu_alpha.files import write_text
    from pangu_alpha.planner.space import Layout

    settings = best.model_dump(mode="json", exclude={"parallel"}, exclude_defaults=True)
    settings["parallel"] = best.parallel.model_dump(mode="json")
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    try:
        write_text(path, f"# {name} with the layout that `pangu plan` found: {Layout.of(best)}.\n{text}")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    load_config(path)
    print(f"\nrecipe in {path}; `pangu compile {path}` holds it against the compiler's own programs")
    for words in refused_of_layout(recipe, best):
        say(f"pangu: {path}: a training refuses it: {words}")


def refused_of_layout(recipe: RunConfig, found: RunConfig) -> list[str]:
    """What a training refuses of a layout by the recipe alone, and not of the recipe that it was found for."""
    from pangu_alpha.training.runnable import refusals

    own = {str(error) for error in refusals(recipe, "mindspore", None)}
    return [words for error in refusals(found, "mindspore", None) if (words := str(error)) not in own]
