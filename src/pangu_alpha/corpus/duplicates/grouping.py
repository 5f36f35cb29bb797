"""Documents with the same hash: of their whole text (exact duplicates), or of one band (candidates for comparison)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.corpus import cleaning
from pangu_alpha.corpus.work import Work, load, save, write_result

EXACT_STAGE, CANDIDATE_STAGE = "exact", "candidates"
PART_DOCUMENTS = 250_000
"""Documents that a task sorts: 6 MB, and some times that on the way, less than cleaning a piece takes."""
PAIR = [("low", "<u8"), ("high", "<u8")]
"""Two documents, the earlier one first."""


def num_parts(num_documents: int) -> int:
    """Into how many ranges of hashes the documents are cut."""
    return max(1, -(-num_documents // PART_DOCUMENTS))


def group_exact(work: Work, task: int) -> None:
    """Write pairs.npy: the first document with a text, and each other one with it; sorted by the other."""
    parts = num_parts(_num_kept(work))

    def write(folder: Path) -> dict[str, Any]:
        files = (load(work.result(cleaning.STAGE, piece.number) / "exact.npy") for piece in work.pieces)
        found = np.concatenate([file[_range(file["high"], task, parts)] for file in files])
        found = found[np.lexsort((found["document"], found["low"], found["high"]))]
        same = (found["high"][1:] == found["high"][:-1]) & (found["low"][1:] == found["low"][:-1])
        pairs = _stars(found["document"], same, chain=False)
        save(folder / "pairs.npy", pairs[np.argsort(pairs["high"], kind="stable")])
        return {"pairs": len(pairs)}

    write_result(work.result(EXACT_STAGE, task), write)


def group_band(work: Work, task: int) -> None:
    """Write pairs.npy: of documents that share a band, the first with each other, and each with the next; sorted.

    Of equal texts only the first takes part: the others are exact duplicates.
    """
    near = work.recipe.duplicates.near
    assert near is not None
    parts = num_parts(_num_kept(work))
    band, part = divmod(task, parts)

    def write(folder: Path) -> dict[str, Any]:
        slices = []
        for piece in work.pieces:
            file = load(work.result(cleaning.STAGE, piece.number) / "bands.npy")
            one = file[len(file) // near.bands * band : len(file) // near.bands * (band + 1)]
            slices.append(one[_range(one["hash"], part, parts)])
        found = np.concatenate(slices)
        found = found[np.lexsort((found["document"], found["content"], found["hash"]))]
        again = (found["hash"][1:] == found["hash"][:-1]) & (found["content"][1:] == found["content"][:-1])
        found = found[np.concatenate([np.ones(min(len(found), 1), bool), ~again])]
        found = found[np.lexsort((found["document"], found["hash"]))]
        pairs = np.unique(_stars(found["document"], found["hash"][1:] == found["hash"][:-1], chain=True))
        save(folder / "pairs.npy", pairs)
        return {"pairs": len(pairs)}

    write_result(work.result(CANDIDATE_STAGE, task), write)


@lru_cache(maxsize=1)  # a process does many ranges, and reads a manifest a piece for it
def _num_kept(work: Work) -> int:
    return sum(work.counts(cleaning.STAGE, piece.number)["by_reason"].get("", 0) for piece in work.pieces)


def _range(hashes: NDArray[np.uint64], part: int, parts: int) -> slice:
    """Where the hashes of a part are in a sorted file."""
    step = (1 << 64) // parts
    first = int(np.searchsorted(hashes, np.uint64(part * step)))
    last = len(hashes) if part == parts - 1 else int(np.searchsorted(hashes, np.uint64((part + 1) * step)))
    return slice(first, last)


def _stars(documents: NDArray[np.uint64], same: NDArray[np.bool_], chain: bool) -> NDArray[Any]:
    """Each document with the first of its group and, with `chain`, the one before; `same` [n − 1] says the groups."""
    if len(documents) < 2:
        return np.zeros(0, PAIR)
    firsts = np.concatenate([[0], np.where(same, 0, np.arange(1, len(documents)))])
    leaders = documents[np.maximum.accumulate(firsts)]
    members = np.flatnonzero(same) + 1
    pairs = np.zeros(len(members), PAIR)
    pairs["low"], pairs["high"] = leaders[members], documents[members]
    if not chain:
        return pairs
    links = np.zeros(len(members), PAIR)
    links["low"], links["high"] = documents[members - 1], documents[members]
    return np.concatenate([pairs, links])
