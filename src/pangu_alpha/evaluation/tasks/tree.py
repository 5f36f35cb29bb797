"""Candidates as a tree of tokens: what several begin with is there, and is computed, once.

A row of the network's input holds the tree. A token sees its ancestors and itself, and its position is its depth, so it
is computed as if its candidate were alone. The tokens of candidates of several questions share a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.evaluation.tasks.wording import Candidate

ROOT = 0
"""Node of the token before all others: the last of what is remembered, or the end of a document that is not there."""


@dataclass
class Tree:
    """Tokens that are computed together. Node 0 is the root; depths count from 0 at the first token of a candidate."""

    root: int
    """Token of the root."""
    skipped: int = 0
    """Tokens at the start of every candidate that the root and what is remembered stand for."""
    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    paths: list[list[int]] = field(default_factory=list)
    """For each candidate, the nodes of its scored tokens."""
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tokens, self.parents, self.depths = [self.root], [ROOT], [self.skipped - 1]

    def num_new(self, candidates: Sequence[Candidate]) -> int:
        """Nodes that `add` would make for these, counted without making them."""
        new: dict[tuple[int, int], int] = {}
        for candidate in candidates:
            node = ROOT
            for token in candidate.ids[self.skipped :]:
                key = (node, token)
                known = self._children.get(key) or new.get(key)
                node = known or new.setdefault(key, -1 - len(new))
        return len(new)

    def add(self, candidate: Candidate) -> None:
        """Put a candidate into the tree."""
        node, path = ROOT, []
        for depth, token in enumerate(candidate.ids[self.skipped :], start=self.skipped):
            key = (node, token)
            if key not in self._children:
                self._children[key] = len(self.tokens)
                self.tokens.append(token)
                self.parents.append(node)
                self.depths.append(depth)
            node = self._children[key]
            if depth >= candidate.start:
                path.append(node)
        self.paths.append(path)

    def visible(self, root_is_seen: bool) -> NDArray[np.bool_]:
        """[N, N], whether the token of a row sees that of a column: its ancestors and itself.

        Args:
            root_is_seen: whether the root is part of the candidates' text, and not of an earlier document.
        """
        seen = np.zeros((len(self.tokens), len(self.tokens)), np.bool_)
        seen[ROOT, ROOT] = True
        for node, parent in enumerate(self.parents[1:], start=1):
            if parent != ROOT or root_is_seen:
                seen[node] = seen[parent]
            seen[node, node] = True
        return seen

    def scored(self) -> list[int]:
        """The nodes that some candidate is scored on, each once, in order."""
        return sorted({node for path in self.paths for node in path})
