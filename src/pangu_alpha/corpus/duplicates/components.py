"""Clusters: the connected components of pairs of documents, from sorted files, in bounded memory.

Every document learns the earliest one of its cluster. The two steps of Kiveris et al. (2014), large-star and
small-star, are each a pass over pairs that are grouped by document; they are repeated until every cluster is a star
around its earliest document. Pairs lie on the disk in parts by a hash of the document; one part is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.corpus.work import save
from pangu_alpha.data.order import mix
from pangu_alpha.files import remove

PART_PAIRS = 4_000_000
"""Of a part, 64 MB; sorting takes some times that."""
_BLOCK = 1 << 20
STARS = "stars"
_EDGE = [("node", "<u8"), ("other", "<u8")]
Edges = NDArray[Any]


def find_clusters(pairs: Iterable[NDArray[Any]], num_pairs: int, folder: Path) -> int:
    """Write `folder`/stars: files of (document, earliest one of its cluster), sorted, without the earliest ones.

    Args:
        pairs: arrays of (low, high), in blocks that may stay on the disk.
        num_pairs: of all of them.
        folder: for what is written on the way, too.

    Returns:
        the number of documents that are not the earliest of their cluster.
    """
    parts = max(1, -(-2 * num_pairs // PART_PAIRS))
    current = _Parts(folder / "round_000", parts)
    for block in pairs:
        for start in range(0, len(block), _BLOCK):
            some = block[start : start + _BLOCK]
            current.add(some["high"], some["low"])
            current.add(some["low"], some["high"])
    number, before = 0, ""
    while True:
        number += 1
        large = _Parts(folder / f"round_{number:03d}_large", parts)
        for edges in current.groups():
            _large_star(edges, large)
        current.remove()
        small = _Parts(folder / f"round_{number:03d}_small", parts)
        state = _small_stars(large, small)
        large.remove()
        if state == before:
            return _write(small, folder / STARS)
        before = state
        current = _Parts(folder / f"round_{number:03d}", parts)
        for edges in small.groups():
            current.add(edges["node"], edges["other"])
            current.add(edges["other"], edges["node"])
        small.remove()


class _Parts:
    """Edges on the disk, in parts by a hash of their first document."""

    def __init__(self, folder: Path, parts: int) -> None:
        self._folder, self._parts = folder, parts
        remove(folder)
        folder.mkdir(parents=True)

    def add(self, nodes: NDArray[Any], others: NDArray[Any]) -> None:
        edges = np.zeros(len(nodes), _EDGE)
        edges["node"], edges["other"] = nodes, others
        part = (mix(edges["node"]) % np.uint64(self._parts)).astype(np.int64)
        order = np.argsort(part, kind="stable")
        bounds = np.searchsorted(part[order], np.arange(self._parts + 1))
        for number in np.flatnonzero(np.diff(bounds)):
            with (self._folder / f"{number:06d}").open("ab") as file:
                file.write(edges[order[bounds[number] : bounds[number + 1]]].tobytes())

    def groups(self) -> Iterator[Edges]:
        """The edges of each part, sorted, each once: those of a document stand together."""
        for path in sorted(self._folder.iterdir()):
            yield np.unique(np.fromfile(path, _EDGE))

    def remove(self) -> None:
        remove(self._folder)


def _least(edges: Edges) -> NDArray[np.uint64]:
    """For each edge, the least of its document's neighbours [edges]."""
    begins = np.concatenate([np.ones(min(len(edges), 1), bool), edges["node"][1:] != edges["node"][:-1]])
    starts = np.flatnonzero(begins)
    least: NDArray[np.uint64] = edges["other"][starts][np.cumsum(begins) - 1]
    return least


def _large_star(edges: Edges, into: _Parts) -> None:
    """Join the later neighbours of each document to the least of its neighbours and itself."""
    least = np.minimum(_least(edges), edges["node"])
    later = edges["other"] > edges["node"]
    into.add(edges["other"][later], least[later])


def _small_stars(edges: _Parts, into: _Parts) -> str:
    """Join each document and its earlier neighbours to the least of them; returns a sum that tells any change."""
    total = count = 0
    for group in edges.groups():
        least = _least(group)
        others = group["other"] != least
        nodes = np.concatenate([group["node"], group["other"][others]])
        roots = np.concatenate([least, least[others]])
        into.add(nodes, roots)
    for group in into.groups():
        total += int(mix(mix(group["node"]) ^ group["other"]).sum(dtype=np.uint64))
        count += len(group)
    return f"{count} {total}"


def _write(stars: _Parts, folder: Path) -> int:
    remove(folder)
    folder.mkdir()
    count = 0
    for number, edges in enumerate(stars.groups()):
        save(folder / f"{number:06d}.npy", edges)
        count += len(edges)
    stars.remove()
    return count
