"""The rule that asks a language model how usual a text is (Wenzek et al., 2020: CCNet).

The model is one of runs of four characters with Kneser-Ney smoothing. Its file is NumPy arrays one after the other,
which all processes of a machine map and share.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.data.kneser_ney import FIRST, KneserNey, code_points, count, symbols_of
from pangu_alpha.errors import ConfigError, DataError
from pangu_alpha.files import flush, written_aside

_ORDER = 4
_KINDS = (np.uint32, np.uint64, np.float32, np.float32, np.uint32)
"""Of the arrays in the file."""
_MOST_CHARACTERS = (1 << 64 // _ORDER) - FIRST
"""Characters that have a symbol of their own: four symbols fit in 64 bits."""


def perplexity(text: str, model: str) -> float:
    """e to the mean cost of a character and of the end of the text; white space does not count."""
    return perplexity_of(_characters(text), *_load(model))


def perplexity_of(characters: NDArray[np.uint32], known: NDArray[np.uint32], model: KneserNey) -> float:
    """The same, of a model in memory."""
    return math.exp(-float(np.log(model.probabilities(symbols_of(characters, known))).mean()))


def learn(texts: Iterable[str], path: Path) -> int:
    """Write the model of `texts` to `path`; returns the number of their characters.

    Memory: some 90 bytes a character.

    Raises:
        DataError: there is no character.
    """
    characters = [_characters(text) for text in texts]
    found, counts = np.unique(np.concatenate([np.zeros(0, np.uint32), *characters]), return_counts=True)
    if not len(found):
        raise DataError("the good texts hold no character to learn from")
    known = np.sort(found[np.argsort(-counts, kind="stable")][:_MOST_CHARACTERS])
    model = count([symbols_of(text, known) for text in characters], _ORDER, len(known) + FIRST)
    with written_aside(path) as aside:
        with aside.open("wb") as file:
            for array in (
                known,
                model.hashes,
                model.weights.astype(np.float32),
                model.backoffs.astype(np.float32),
                model.starts,
            ):
                np.lib.format.write_array(file, array, allow_pickle=False)
        flush(aside)
    return int(counts.sum())


def _characters(text: str) -> NDArray[np.uint32]:
    return code_points("".join(text.split()))


@lru_cache(maxsize=4)
def _load(path: str) -> tuple[NDArray[np.uint32], KneserNey]:
    if not Path(path).is_file():
        raise ConfigError(f"there is no language model {path}: `pangu corpus train --web` makes one")
    try:
        with Path(path).open("rb") as file:
            known, hashes, weights, backoffs, starts = (_map(file, path, kind) for kind in _KINDS)
        model = KneserNey(_ORDER, len(known) + FIRST, hashes, weights, backoffs, starts)
        if not model.is_sound():
            raise ValueError("its arrays do not fit together")
    except ValueError as error:
        raise ConfigError(f"{path} is no language model of `pangu corpus train --web`: {error}") from error
    return np.array(known), model


def _map(file: BinaryIO, path: str, wanted: type[np.generic]) -> NDArray[Any]:
    """The array at the place where `file` is, which is moved behind it."""
    np.lib.format.read_magic(file)
    shape, _, kind = np.lib.format.read_array_header_1_0(file)
    if len(shape) != 1 or kind != np.dtype(wanted):
        raise ValueError(f"an array of {kind} {shape} where a row of {np.dtype(wanted)} belongs")
    array: NDArray[Any] = np.memmap(path, kind, "r", file.tell(), shape)
    file.seek(array.nbytes, 1)
    return array
