"""The mesh: every rank of a job, and every group of ranks that communicates.

Ranks are numbered stage by stage, as MindSpore numbers them: rank = (stage · dp + replica) · mp + slice. All groups are
slices of the one array `Mesh.ranks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from pangu_alpha.config import ParallelConfig
from pangu_alpha.errors import ConfigError

if TYPE_CHECKING:  # and inside the functions that need it: NumPy takes as long to load as `pangu config` to run
    import numpy as np
    from numpy.typing import NDArray

Axis = Literal["pp", "dp", "mp"]
AXES: tuple[Axis, ...] = ("pp", "dp", "mp")
"""In the order of the dims of `Mesh.ranks`."""


@dataclass(frozen=True)
class Place:
    """Where one rank sits."""

    stage: int
    """Index along pp."""
    replica: int
    """Index along dp."""
    slice: int
    """Index along mp."""


@dataclass(frozen=True)
class Mesh:
    """Sizes of the three axes. `sequence_parallel` lets mp also split the rows between the matrix products."""

    dp: int
    mp: int
    pp: int
    sequence_parallel: bool = False

    @classmethod
    def of(cls, parallel: ParallelConfig) -> Mesh:
        """The mesh of a recipe."""
        return cls(parallel.dp, parallel.mp, parallel.pp, parallel.sequence_parallel)

    @property
    def num_ranks(self) -> int:
        """Devices of the job."""
        return self.dp * self.mp * self.pp

    @property
    def num_stage_ranks(self) -> int:
        """Devices of one pipeline stage."""
        return self.dp * self.mp

    @cached_property
    def ranks(self) -> NDArray[np.int64]:
        """Every rank, [pp, dp, mp]."""
        import numpy as np

        return np.arange(self.num_ranks).reshape(self.pp, self.dp, self.mp)

    def size(self, axis: Axis) -> int:
        """Ranks along `axis`."""
        return {"pp": self.pp, "dp": self.dp, "mp": self.mp}[axis]

    def groups(self, axis: Axis) -> tuple[tuple[int, ...], ...]:
        """The ranks that differ only in their place along `axis`, group by group."""
        import numpy as np

        lines = np.moveaxis(self.ranks, AXES.index(axis), -1).reshape(-1, self.size(axis))
        return tuple(tuple(int(rank) for rank in line) for line in lines)

    def group(self, axis: Axis, rank: int) -> tuple[int, ...]:
        """The group of `axis` that `rank` is in."""
        place = self.place(rank)
        index = {"pp": place.stage, "dp": place.replica, "mp": place.slice}
        line = tuple(slice(None) if name == axis else index[name] for name in AXES)
        return tuple(int(member) for member in self.ranks[line])

    def stage_ranks(self, stage: int) -> tuple[int, ...]:
        """All ranks of one pipeline stage."""
        return tuple(int(rank) for rank in self.ranks[stage].reshape(-1))

    def place(self, rank: int) -> Place:
        """Where `rank` sits.

        Raises:
            ConfigError: there is no such rank.
        """
        if not 0 <= rank < self.num_ranks:
            raise ConfigError(f"rank {rank} is not in the mesh {self}: its ranks are 0 to {self.num_ranks - 1}")
        stage, in_stage = divmod(rank, self.num_stage_ranks)
        return Place(stage, *divmod(in_stage, self.mp))

    def check_devices(self, num_devices: int) -> None:
        """Refuse a number of devices that this mesh does not fill exactly.

        Raises:
            ConfigError: with the arithmetic.
        """
        if num_devices != self.num_ranks:
            raise ConfigError(
                f"{self} = {self.num_ranks} ≠ devices({num_devices}): change parallel.dp, mp or pp until the product "
                "is the number of devices"
            )

    def __str__(self) -> str:
        return f"dp({self.dp}) × mp({self.mp}) × pp({self.pp})"
