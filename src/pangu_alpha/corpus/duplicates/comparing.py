"""Candidates, compared on their text: which pairs are similar indeed."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.corpus import cleaning
from pangu_alpha.corpus.duplicates.grouping import CANDIDATE_STAGE, PAIR
from pangu_alpha.corpus.minhash import Codes, shingle_set, similarity
from pangu_alpha.corpus.work import ROW_BITS, Work, load, of_piece, save, write_result

STAGE = "similar"
_OPEN_PIECES = 64
_SETS = 512
"""Documents whose shingles are kept: pairs are sorted by their first, which comes again and again."""


def compare(work: Work, task: int) -> None:
    """Write pairs.npy: the candidates whose earlier document is in piece `task` and that are similar; sorted."""
    near = work.recipe.duplicates.near
    assert near is not None

    def write(folder: Path) -> dict[str, Any]:
        pairs = _candidates(work, task)
        texts = Texts(work)

        @lru_cache(maxsize=_SETS)
        def shingles_of(document: int) -> Codes:
            return shingle_set(texts.read(document), near.ngram)

        similar = np.fromiter(
            (similarity(shingles_of(int(low)), shingles_of(int(high))) >= near.jaccard for low, high in pairs),
            bool,
            len(pairs),
        )
        save(folder / "pairs.npy", pairs[similar])
        return {"compared": len(pairs), "similar": int(similar.sum())}

    write_result(work.result(STAGE, task), write)


class Texts:
    """The texts that have passed the rules, by the numbers of their documents."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._piece = lru_cache(maxsize=_OPEN_PIECES)(self._open)

    def read(self, document: int) -> str:
        """The text of a document."""
        rows, ends, data = self._piece(document >> ROW_BITS)
        place = int(np.searchsorted(rows, document & ((1 << ROW_BITS) - 1)))
        start = int(ends[place - 1]) if place else 0
        return data[start : int(ends[place])].tobytes().decode()

    def _open(self, piece: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.uint8]]:
        folder = self._work.result(cleaning.STAGE, piece)
        data = np.memmap(folder / "text.bin", np.uint8, "r")  # not opened for a piece without texts
        return load(folder / "rows.npy"), load(folder / "ends.npy"), data


def _candidates(work: Work, piece: int) -> NDArray[Any]:
    """The pairs of all bands whose earlier document is in the piece, sorted, each once."""
    parts = [np.zeros(0, PAIR)]
    for folder in sorted(work.stage(CANDIDATE_STAGE).iterdir()):
        pairs = load(folder / "pairs.npy")
        parts.append(pairs[of_piece(piece, pairs["low"])])
    return np.unique(np.concatenate(parts))
