"""Clusters equal those of a union-find in memory, in any number of parts."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pangu_alpha.corpus.duplicates import components
from pangu_alpha.corpus.duplicates.components import STARS, find_clusters
from pangu_alpha.corpus.duplicates.grouping import PAIR


def union_find(pairs: list[tuple[int, int]]) -> dict[int, int]:
    parent: dict[int, int] = {}

    def root(node: int) -> int:
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    for some, other in pairs:
        low, high = sorted((root(some), root(other)))
        parent[high] = low
    return {node: root(node) for node in parent if root(node) != node}


def clusters(pairs: list[tuple[int, int]], folder: Path) -> dict[int, int]:
    array = np.array([tuple(sorted(pair)) for pair in pairs], PAIR)
    count = find_clusters([array[::2], array[1::2]], len(array), folder)
    found = [row for path in sorted((folder / STARS).iterdir()) for row in np.load(path).tolist()]
    assert count == len(found) and {path.name for path in folder.iterdir()} == {STARS}
    return dict(found)


@pytest.mark.parametrize("part_pairs", [10, 1_000_000])
def test_clusters_are_the_connected_components(
    tmp_path: Path, part_pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components, "PART_PAIRS", part_pairs)
    draw = np.random.default_rng(1)
    pairs = [(int(a) << 32, int(b)) for a, b in draw.integers(0, 400, (260, 2))]
    assert clusters(pairs, tmp_path) == union_find(pairs)


def test_a_chain_becomes_one_cluster_whatever_its_order(tmp_path: Path) -> None:
    order = np.random.default_rng(2).permutation(500).tolist()
    pairs = list(pairwise(order))
    assert clusters(pairs, tmp_path) == dict.fromkeys(range(1, 500), 0)


def test_no_pairs_are_no_clusters(tmp_path: Path) -> None:
    assert find_clusters([], 0, tmp_path) == 0
