"""Evaluation sets that must not be trained on: the n-grams of their characters, looked for in every document."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.corpus.minhash import Codes, letters
from pangu_alpha.corpus.recipe import Recipe
from pangu_alpha.corpus.sources import plan_pieces, read_piece
from pangu_alpha.corpus.sources.text_of import decode, text_of
from pangu_alpha.corpus.work import load
from pangu_alpha.data.order import mix
from pangu_alpha.errors import DataError
from pangu_alpha.reading import parse_json

_BASE = 0x9E3779B97F4A7C15


def ngrams(codes: Codes, ngram: int) -> NDArray[np.uint64]:
    """A 64-bit hash of each `ngram` characters in a row; none of a shorter text."""
    count = len(codes) - ngram + 1
    if count < 1:
        return np.zeros(0, np.uint64)
    wide = codes.astype(np.uint64)
    hashes = np.zeros(count, np.uint64)
    for i in range(ngram):
        hashes = hashes * np.uint64(_BASE) + wide[i : i + count]
    return mix(hashes)


def collect(recipe: Recipe) -> NDArray[np.uint64]:
    """The n-grams of the recipe's evaluation files, sorted, each once.

    Raises:
        DataError: a file cannot be read, or no text of them has as many characters as an n-gram.
    """
    settings = recipe.contamination
    parts = [
        ngrams(letters([text])[0], settings.ngram)
        for path in settings.paths
        for text in _texts(path, recipe.limits.document_bytes)
    ]
    found = np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.uint64)
    if not len(found):
        raise DataError(
            f"contamination.paths: no text of them has {settings.ngram} characters in a row, so that nothing would be "
            "found. Name other files, or a smaller contamination.ngram"
        )
    return found


def num_found(text: str, path: Path, ngram: int) -> int:
    """How many n-grams of `text` are among those that `path` holds."""
    wanted, own = _load(path), ngrams(letters([text])[0], ngram)
    places = np.searchsorted(wanted, own)
    return int(np.count_nonzero(wanted[np.minimum(places, len(wanted) - 1)] == own))


@lru_cache(maxsize=1)
def _load(path: Path) -> NDArray[np.uint64]:
    return load(path)


def _texts(path: Path, max_bytes: int) -> Iterator[str]:
    for piece in plan_pieces([("tasks", path)], ["tasks"], 1 << 40):
        for stored in read_piece(piece, max_bytes, ("text",)):
            if stored.format == "json" and not stored.problem:
                try:
                    yield from _strings(parse_json(decode(stored.data)[0]))
                except ValueError as error:
                    raise DataError(f"{stored.file}, byte {stored.offset}: not JSON ({error})") from error
            else:
                found = text_of(stored, ("text",), 1000)
                if found.problem:
                    raise DataError(
                        f"{stored.file}, {stored.offset}: cannot be read as an evaluation set: {found.problem}"
                    )
                yield found.text


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
