"""The processes of an emulated job: one with all ranks or, under mpirun, one for each rank."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from pangu_alpha.emulator.collectives import LockStep, Transport
from pangu_alpha.emulator.mpi import MpiProcesses
from pangu_alpha.errors import ConfigError
from pangu_alpha.training.workers import Rule, Workers

T = TypeVar("T")


class Processes(Workers):
    """Which ranks live in this process, and how the processes agree."""

    def __init__(self, num_ranks: int) -> None:
        """Find out whether mpirun started this process, with others.

        Args:
            num_ranks: of the mesh.

        Raises:
            ConfigError: mpirun has started another number of processes.
            EmulatorError: MPI cannot be used.
        """
        self._num_ranks = num_ranks
        self._mpi = MpiProcesses()
        if self._mpi.num_processes not in (1, num_ranks):
            raise ConfigError(
                f"mpirun started {self._mpi.num_processes} processes for a mesh of {num_ranks} ranks: use "
                f"`mpirun -n {num_ranks}`, or no mpirun to have all ranks in one process"
            )
        self._is_alone = self._mpi.num_processes == 1
        self.transport: Transport = LockStep() if self._is_alone else self._mpi
        first = self._mpi.rank
        self.ranks = range(num_ranks) if self._is_alone else range(first, first + 1)
        """That live here."""

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes down what is not a rank's own."""
        return self.ranks[0] == 0

    def __str__(self) -> str:
        return f"{self._num_ranks} emulated rank(s) in {self._mpi.num_processes} process(es)"

    def ending_together(self) -> AbstractContextManager[None]:
        """Inside, the failure of one process ends all."""
        return nullcontext() if self._is_alone else self._mpi.ending_together()

    def of_main(self, compute: Callable[[], T]) -> T:
        """What the main process computes, told to the others. All must ask."""
        return self.transport.share({0: compute()} if self.is_main else {})[0]

    def decide(self, text: str, rule: Rule) -> str:
        """See `Workers`."""
        texts = self.transport.share({self.ranks[0]: text})
        return rule([texts[rank] for rank in sorted(texts)])
