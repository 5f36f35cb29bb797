"""plan.json in a corpus's folder: recipe, pieces, and all else that the output is a function of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pangu_alpha import __version__
from pangu_alpha.corpus.recipe import Recipe
from pangu_alpha.corpus.rules.words import list_path
from pangu_alpha.corpus.sources import Piece, Span
from pangu_alpha.corpus.work import Work
from pangu_alpha.errors import ConfigError
from pangu_alpha.files import file_sha256, write_text
from pangu_alpha.reading import parse_json

PLAN = "plan.json"
_PACKAGES = (
    "opencc",
    "resiliparse",
    "fastwarc",
    "pyarrow",
    "pyahocorasick",
    "fasttext-community",
    "zstandard",
    "numpy",
    "jieba",
)
"""Packages of others whose versions can change what comes out."""


def make_plan(recipe: Recipe, pieces: Sequence[Piece]) -> dict[str, Any]:
    """What plan.json says.

    Raises:
        OSError: a word list or an evaluation file cannot be read.
    """
    return {
        "pangu_alpha": __version__,
        "packages": {name: _version(name) for name in _PACKAGES},
        "recipe": recipe.model_dump(mode="json"),
        "files": {str(path): file_sha256(path) for path in _files_of(recipe)},
        "pieces": [
            [
                piece.source,
                [[str(span.path), span.format, span.start, span.stop, span.num_bytes] for span in piece.spans],
            ]
            for piece in pieces
        ],
        "times": _digest(
            sorted({(str(span.path), span.path.stat().st_mtime_ns) for one in pieces for span in one.spans})
        ),
    }


def begin(output: Path, plan: dict[str, Any]) -> Work:
    """Write the plan, or find the one that is there equal to it.

    Raises:
        ConfigError: the folder holds a corpus that was begun with something else.
    """
    path = output / PLAN
    if path.exists():
        old = _read(path)
        if different := [_difference(old, plan, key) for key in plan if old.get(key) != plan[key]]:
            raise ConfigError(
                f"{output} holds a corpus that was begun with something else: {'; '.join(different)}. Its shards would "
                "not fit: choose another --output, or remove it"
            )
    else:
        output.mkdir(parents=True, exist_ok=True)
        # In ASCII: the name of a file may be no text.
        write_text(path, json.dumps(plan, indent=1))
    return read_work(output)


@lru_cache(maxsize=4)
def read_work(output: Path) -> Work:
    """What the plan in a corpus's folder says.

    Raises:
        ConfigError: it is damaged.
    """
    plan = _read(output / PLAN)
    try:
        pieces = tuple(
            Piece(number, source, tuple(Span(Path(path), *rest) for path, *rest in spans))
            for number, (source, spans) in enumerate(plan["pieces"])
        )
        return Work(output, Recipe.model_validate(plan["recipe"]), pieces)
    except (ValueError, TypeError) as error:  # pydantic's is a ValueError
        raise _damaged(output / PLAN, "its recipe or its pieces are of another form") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        # Not `read_json`: there is no bound for the number of input files.
        plan = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(path, error) from error
    kinds = {"recipe": dict, "pieces": list}
    if not isinstance(plan, dict) or not all(isinstance(plan.get(key), kind) for key, kind in kinds.items()):
        raise _damaged(path, "no plan: recipe or pieces are missing")
    return plan


def _damaged(path: Path, why: object) -> ConfigError:
    return ConfigError(f"{path} is damaged ({why}): choose another --output, or remove {path.parent}")


def _difference(old: dict[str, Any], new: dict[str, Any], key: str) -> str:
    if key == "pieces":
        return f"the input ({len(old.get(key, []))} pieces then, {len(new[key])} now, or other files)"
    if key == "times":
        return "a file of the input was written since"
    before, now = old.get(key), new[key]
    if isinstance(before, dict) and isinstance(now, dict):
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        return f"{key}: {', '.join(names)}"
    return f"{key}: {before} then, {now} now"


def _files_of(recipe: Recipe) -> list[Path]:
    lists = {list_path(settings["words"]) for settings in recipe.rules.values() if "words" in settings}
    models = {Path(settings["model"]) for settings in recipe.rules.values() if "model" in settings}
    return sorted(path for path in {*lists, *models, *recipe.contamination.paths} if path.is_file())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
