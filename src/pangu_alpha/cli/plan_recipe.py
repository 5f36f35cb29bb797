"""The file that `pangu plan --write` writes: the best layout's recipe, as a training accepts it today."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.console import say
from pangu_alpha.errors import ConfigError

if TYPE_CHECKING:
    from pangu_alpha.config import RunConfig
    from pangu_alpha.planner.job import Job


def check_parent(option: str, path: Path) -> None:
    """Refuse a file in a folder that is not there, before anything is searched.

    Raises:
        ConfigError: so it is.
    """
    if not path.parent.is_dir():
        raise ConfigError(f"{option} {path}: there is no directory {path.parent}: make it, or give another place")


def check_new(path: Path) -> None:
    """Refuse to write a recipe where something is.

    Raises:
        ConfigError: something is there, or no folder for it.
    """
    check_parent("--write", path)
    if os.path.lexists(path):  # a link without its file is something too
        raise ConfigError(f"--write {path} is there already: give another name, nothing is overwritten")


def write_recipe(name: str, job: Job, best: RunConfig, path: Path) -> None:
    """Write a layout's recipe, read it as a user would, and say what a training would refuse of it.

    It reads as many tokens as the recipe that it comes from: with another batch in other steps, and on their schedule.

    Args:
        name: of the recipe that the search began with.
        job: that it was found for.
        best: the recipe with the layout that was found.
        path: of the new file.

    Raises:
        ConfigError: the file cannot be written.
    """
    import yaml

    from pangu_alpha.config import load_config
    from pangu_alpha.files import write_text
    from pangu_alpha.planner.space import Layout

    settings = _with_steps(best, job.num_steps).model_dump(mode="json", exclude={"parallel"}, exclude_defaults=True)
    settings["parallel"] = best.parallel.model_dump(mode="json")
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    try:
        write_text(path, f"# {name} in a layout of `pangu plan`: {Layout.of(best)}.\n{text}")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    load_config(path)
    command = shlex.join(["pangu", "compile", str(path)])
    print(f"\nrecipe in {path}; `{command}` holds it against the compiler's own programs")
    if job.num_steps != best.train.steps:
        print(
            f"its {job.num_steps:,} steps read as many tokens as {name}'s {best.train.steps:,}, its warm-up and decay "
            "are as long in tokens; the learning rate is as it was"
        )
    for words in refused_of_layout(job.recipe, best):
        say(f"pangu: {path}: a training refuses it: {words}")


def _with_steps(recipe: RunConfig, num_steps: int) -> RunConfig:
    """The recipe over other steps, with the warm-up and decay of as many tokens."""
    train, schedule = recipe.train, recipe.schedule
    warmup, decay = (-(-steps * num_steps // train.steps) for steps in (schedule.warmup_steps, schedule.decay_steps))
    return recipe.model_copy(
        update={
            "train": train.model_copy(update={"steps": num_steps}),
            "schedule": schedule.model_copy(update={"warmup_steps": warmup, "decay_steps": max(decay, warmup + 1)}),
        }
    )


def refused_of_layout(recipe: RunConfig, found: RunConfig) -> list[str]:
    """What a training refuses of a layout by the recipe alone, and not of the recipe that it was found for."""
    from pangu_alpha.training.runnable import refusals

    own = {str(error) for error in refusals(recipe, "mindspore", None)}
    return [words for error in refusals(found, "mindspore", None) if (words := str(error)) not in own]
