"""The file that `pangu plan --write` writes: the best layout's recipe, as a training accepts it today."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.console import say
from pangu_alpha.errors import ConfigError

if TYPE_CHECKING:
    from pangu_alpha.config import RunConfig


def write_recipe(name: str, recipe: RunConfig, best: RunConfig, path: Path) -> None:
    """Write the best layout's recipe, read it as a user would, and say what it lacks.

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

    config, words = accepted(recipe, best)
    settings = config.model_dump(mode="json", exclude={"parallel"}, exclude_defaults=True)
    settings["parallel"] = config.parallel.model_dump(mode="json")
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    try:
        write_text(path, f"# {name} with the layout that `pangu plan` found: {Layout.of(best)}.\n{text}")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    load_config(path)
    print(f"\nrecipe in {path}; `pangu compile {path}` holds it against the compiler's own programs")
    for line in words:
        say(f"pangu: {path}: {line}")


def accepted(recipe: RunConfig, found: RunConfig) -> tuple[RunConfig, list[str]]:
    """The layout's recipe without what a training refuses of it alone, and a sentence for each refusal.

    Validation is what can be left out: checkpoints can be measured afterwards.
    """
    own = _refusals(recipe)
    refused = [words for words in _refusals(found) if words not in own]
    without = found.model_copy(update={"data": found.data.model_copy(update={"validation": ()})})
    still = [words for words in refused if words in _refusals(without)]
    left_out = [f"data.validation is left out: {words}" for words in refused if words not in still]
    return without if left_out else found, left_out + [f"a training refuses it: {words}" for words in still]


def _refusals(config: RunConfig) -> list[str]:
    from pangu_alpha.training.runnable import refusals

    return [str(error) for error in refusals(config, "mindspore", None)]
