"""From all pairs that are the same to clusters, as a task of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.corpus.duplicates import comparing, grouping
from pangu_alpha.corpus.duplicates.components import STARS, find_clusters
from pangu_alpha.corpus.work import ROW_BITS, Work, load, of_piece, write_result

STAGE = "clusters"
_BLOCK = 1 << 22


def cluster(work: Work, task: int) -> None:
    """Write the stars of all pairs, exact and near, in a folder inside the result."""

    def write(folder: Path) -> dict[str, Any]:
        files = list(_files(work))
        num_pairs = sum(len(pairs) for pairs in files)
        return {"pairs": num_pairs, "documents": find_clusters(files, num_pairs, folder)}

    write_result(work.result(STAGE, task), write)


def duplicates_of(work: Work, piece: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
    """Of a piece: its duplicates, sorted; the earliest of the cluster of each; which of them are equal to one."""
    folder = work.result(STAGE, 0) / STARS
    parts = [load(path) for path in sorted(folder.iterdir())]
    stars = [part[of_piece(piece, part["node"])] for part in parts]
    documents = np.concatenate([np.zeros(0, np.uint64), *(part["node"] for part in stars)])
    leaders = np.concatenate([np.zeros(0, np.uint64), *(part["other"] for part in stars)])
    order = np.argsort(documents, kind="stable")
    exact = [np.zeros(0, np.uint64)]
    if work.recipe.duplicates.exact:
        for one in sorted(work.stage(grouping.EXACT_STAGE).iterdir()):
            pairs = load(one / "pairs.npy")
            exact.append(pairs["high"][of_piece(piece, pairs["high"])])
    return documents[order], leaders[order], np.sort(np.concatenate(exact))


def leaders_of(work: Work, piece: int) -> NDArray[np.uint64]:
    """The documents of a piece that stay for a whole cluster, sorted."""
    found = [np.zeros(0, np.uint64)]
    for path in sorted((work.result(STAGE, 0) / STARS).iterdir()):
        for start in range(0, len(stars := load(path)), _BLOCK):
            others = stars["other"][start : start + _BLOCK]
            found.append(np.unique(others[others >> np.uint64(ROW_BITS) == piece]))
    return np.unique(np.concatenate(found))


def _files(work: Work) -> Iterator[NDArray[Any]]:
    for stage in (grouping.EXACT_STAGE, comparing.STAGE):
        folder = work.stage(stage)
        for one in sorted(folder.iterdir()) if folder.is_dir() else ():
            yield load(one / "pairs.npy")
