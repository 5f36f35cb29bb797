"""Which levels of links a group of ranks crosses, where it is known which devices each level joins.

A level's units are the sets of ranks that it and the levels below it join: the ranks of a server, those of a rack.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pangu_alpha.topology.mesh import AXES, Axis, Mesh

if TYPE_CHECKING:  # and inside the functions that need it: a plan without a file does not wait for NumPy
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Crossing:
    """What a group does on one level, on the part of it that is busiest there."""

    level: int
    """From the nearest, 0."""
    steps: int
    """Of a ring among the units below that the level joins."""
    share: float
    """Of the group's tensor: what one device sends over the level when it is gathered."""


@dataclass(frozen=True, eq=False)
class Units:
    """The units of every level."""

    levels: tuple[NDArray[np.int64], ...]
    """From near to far: the number of each rank's unit."""
    _crossings: dict[tuple[object, ...], tuple[tuple[Crossing, ...], ...]] = field(default_factory=dict)
    _hops: dict[tuple[int, ...], tuple[int, ...]] = field(default_factory=dict)

    @property
    def num_ranks(self) -> int:
        """Of the job."""
        return len(self.levels[0])

    def crossings(self, axes: tuple[Axis, ...], mesh: Mesh) -> tuple[tuple[Crossing, ...], ...]:
        """What groups of `axes` do, level by level: each kind of group once, but for those that another one exceeds."""
        key = (mesh.dp, mesh.mp, mesh.pp, axes)
        if key not in self._crossings:
            self._crossings[key] = self._find(axes, mesh)
        return self._crossings[key]

    def hops(self, mesh: Mesh) -> tuple[int, ...]:
        """The levels that lie between a device and the same place of the next stage, in any of the pipelines."""
        import numpy as np

        key = (mesh.dp, mesh.mp, mesh.pp)
        if key not in self._hops:
            apart = [units[mesh.ranks[1:]] != units[mesh.ranks[:-1]] for units in self.levels]
            # Units lie in units: two ranks that n levels hold apart are joined by the next one.
            self._hops[key] = tuple(int(level) for level in np.unique(np.sum(apart, axis=0)))
        return self._hops[key]

    def _find(self, axes: tuple[Axis, ...], mesh: Mesh) -> tuple[tuple[Crossing, ...], ...]:
        import numpy as np

        groups = groups_of(axes, mesh)
        inner = np.arange(self.num_ranks)
        columns: list[NDArray[np.float64]] = []
        for units in self.levels:
            columns += _level(inner[groups], units[groups])
            inner = units
        kinds = np.unique(np.stack(columns, axis=1), axis=0)
        return tuple(
            tuple(
                Crossing(level, int(kind[2 * level]), float(kind[2 * level + 1]))
                for level in range(len(self.levels))
                if kind[2 * level]
            )
            for kind in _largest(kinds)
        )


def groups_of(axes: Sequence[Axis], mesh: Mesh) -> NDArray[np.int64]:
    """The ranks that differ only along `axes`, [groups, ranks of a group]."""
    rest = [axis for axis in AXES if axis not in axes]
    size = math.prod(mesh.size(axis) for axis in axes)
    return mesh.ranks.transpose([AXES.index(axis) for axis in (*rest, *axes)]).reshape(-1, size)


def _level(inner: NDArray[np.int64], outer: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and share of each group on a level.

    A part with s of its unit's S ranks lacks 1 - s ÷ S of what these gather; each of its ranks fetches one s-th of it.

    Args:
        inner: units of the level below, [groups, ranks of a group].
        outer: those of the level.
    """
    import numpy as np

    num_groups = len(inner)
    number = np.arange(num_groups)[:, None]
    # A part: the ranks of a group in one unit of the level below.
    _, first, sizes = np.unique(number * (inner.max() + 1) + inner, return_index=True, return_counts=True)
    group = first // inner.shape[1]
    _, unit = np.unique(group * (outer.max() + 1) + outer.reshape(-1)[first], return_inverse=True)
    parts, ranks = np.bincount(unit), np.bincount(unit, weights=sizes)
    steps, shares = np.zeros(num_groups), np.zeros(num_groups)
    np.maximum.at(steps, group, parts[unit] - 1)
    np.maximum.at(shares, group, (ranks[unit] - sizes) / (ranks[unit] * sizes))
    return steps, shares


def _largest(kinds: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Rows that no other one equals or exceeds in every column; the rows differ."""
    return [kind for kind in kinds if (kinds >= kind).all(axis=1).sum() == 1]
