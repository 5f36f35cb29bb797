"""All ranks of a mesh: their programs, their parameters from step to step, and the way from and to whole tensors."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from pangu_alpha.emulator.collectives import LockStep, Transport
from pangu_alpha.emulator.dtypes import Precision, lifted
from pangu_alpha.emulator.interpreter import RankProgram
from pangu_alpha.errors import EmulatorError
from pangu_alpha.parallel.layout_rows import LayoutRow, part_of
from pangu_alpha.parallel.parameters import GRADIENT_SUMS, parameter_name
from pangu_alpha.parallel.parts import Part, cut, join
from pangu_alpha.program.graph import Array, Program, TensorType, groups_of

Layout = Mapping[str, LayoutRow]


class Machine:
    """Executes the programs of the ranks that live in this process: all of them, or one a process under MPI."""

    def __init__(
        self,
        programs: Mapping[int, Program],
        layouts: Mapping[int, Layout] | None = None,
        *,
        precision: Precision = "native",
        transport: Transport | None = None,
    ) -> None:
        """Prepare the programs.

        Args:
            programs: by global rank.
            layouts: `parameter_layout_dict` of each of these ranks; tensors without a row are whole on each rank.
            precision: see `emulator/dtypes.py`.
            transport: carries out what ranks ask of each other; `LockStep` unless given.

        Raises:
            EmulatorError: a program holds something unknown, or does not belong to this mesh.
        """
        self._transport: Transport = transport or LockStep()
        self._precision = precision
        num_ranks = len(self._transport.share(dict.fromkeys(programs)))
        self._ranks = {rank: RankProgram(rank, num_ranks, program, precision) for rank, program in programs.items()}
        self._parts = {
            rank: _parts(rank, num_ranks, program, (layouts or {}).get(rank, {})) for rank, program in programs.items()
        }
        self._copies = {rank: program.received_parameters() for rank, program in programs.items()}
        # A step starts with zeros in these and leaves zeros.
        for program in self._ranks.values():
            for name, reference in program.parameters.items():
                if name.startswith(GRADIENT_SUMS) and reference.value is None:
                    reference.write(np.zeros(reference.kind.shape))
        self._blas = ThreadpoolController()

    def step(self, *inputs: Array | float) -> dict[int, tuple[Array, ...]]:
        """Run every rank's program once.

        Args:
            inputs: whole arrays, in the order of `Program.inputs`; each rank gets its part.

        Returns:
            The outputs of each rank of this process.

        Raises:
            EmulatorError: see `Transport.run`; or an input has another shape than the program says.
        """
        running = {rank: program.run(self._inputs(rank, inputs)) for rank, program in self._ranks.items()}
        # The products are small, and the threads of a BLAS spin while they wait for each other.
        # Overflow is a result here, as on a device.
        with self._blas.limit(limits=1, user_api="blas"), np.errstate(all="ignore"):
            results = self._transport.run(running)
        return {rank: result if isinstance(result, tuple) else (result,) for rank, result in results.items()}

    def scatter(self, tensors: Mapping[str, Array]) -> None:
        """Give each rank its part of each tensor that its program has as a parameter.

        Raises:
            EmulatorError: a tensor is no rank's parameter here, or its shape is not that of the layout.
        """
        for name, tensor in tensors.items():
            for rank, program in self._ranks.items():
                if name in program.parameters:
                    program.parameters[name].write(cut(name, tensor, self._parts[rank][name]))

    @property
    def ranks(self) -> Collection[int]:
        """The ranks of this process."""
        return self._ranks.keys()

    def parts(self, name: str) -> dict[int, Part]:
        """What each rank of this process that has the parameter holds of it."""
        return {rank: self._parts[rank][name] for rank, program in self._ranks.items() if name in program.parameters}

    def part(self, rank: int, name: str) -> tuple[Part, Array]:
        """A rank's part of a parameter that has a value, and where it lies; not a copy."""
        value = self._ranks[rank].parameters[name].value
        assert value is not None
        return self._parts[rank][name], value

    def write(self, rank: int, name: str, values: Array) -> None:
        """Replace a rank's part of a parameter."""
        self._ranks[rank].parameters[name].write(values)

    def gather(self, names: Collection[str] | None = None) -> dict[str, Array]:
        """Parameters as a whole, from the ranks that own them: copies sent by another stage do not count.

        Args:
            names: of the parameters; None: all.

        Raises:
            LayoutError: ranks that hold the same part differ, or a part is held by none.
        """
        return self._join({rank: _values(program, names) for rank, program in self._ranks.items()})

    def gradients(self) -> dict[str, Array]:
        """What the optimizer was given in the last step, as a whole; nothing where the step was skipped.

        Raises:
            LayoutError: as for `gather`.
        """
        return self._join({rank: dict(program.gradients) for rank, program in self._ranks.items()})

    def plant_overflow(self) -> int | None:
        """Put an infinity into one sum of gradients of the last rank alone, and return that rank.

        It is the sum of which the rank holds the smallest part, so that not all ranks of its stage add it up. None, and
        nothing done, where no sums last from step to step: with one micro-batch, or one rank.
        """
        rank, program = max(self._ranks.items())

        def share(name: str) -> float:
            part = self._parts[rank][name]
            return part.box.num_elements / math.prod(part.whole)

        name = min((name for name in program.parameters if name.startswith(GRADIENT_SUMS)), key=share, default=None)
        if name is None:
            return None
        reference = program.parameters[name]
        reference.write(np.full(reference.kind.shape, np.inf))
        return rank

    def _join(self, values: Mapping[int, Mapping[str, Array]]) -> dict[str, Array]:
        pieces: dict[str, dict[int, tuple[Part, Array]]] = defaultdict(dict)
        mine = {
            rank: {name: (self._parts[rank][name], value) for name, value in tensors.items() if self._owns(rank, name)}
            for rank, tensors in values.items()
        }
        for rank, tensors in sorted(self._transport.share(mine).items()):
            for name, piece in tensors.items():
                pieces[name][rank] = piece
        return {name: join(name, held) for name, held in pieces.items()}

    def _owns(self, rank: int, name: str) -> bool:
        return parameter_name(name) not in self._copies[rank]

    def _inputs(self, rank: int, inputs: Sequence[Array | float]) -> list[Array]:
        expected = self._ranks[rank].program.inputs
        if len(inputs) != len(expected):
            raise EmulatorError(f"rank {rank}'s program takes {len(expected)} inputs, not {len(inputs)}")
        arrays = []
        for (name, kind), value in zip(expected.items(), inputs, strict=True):
            assert isinstance(kind, TensorType)
            part = cut(name, np.asarray(value), self._parts[rank][name])
            arrays.append(part.astype(lifted(kind.dtype, self._precision)))
        return arrays


def _values(program: RankProgram, names: Collection[str] | None) -> dict[str, Array]:
    return {
        name: item.value
        for name, item in program.parameters.items()
        if item.value is not None and (names is None or name in names)
    }


def _parts(rank: int, num_ranks: int, program: Program, layout: Layout) -> dict[str, Part]:
    """The part of each parameter and input that `rank` holds."""
    groups = groups_of(program, num_ranks)
    shapes: dict[str, Any] = {name: kind.shape for name, kind in program.parameters.items()}
    shapes.update({name: kind.shape for name, kind in program.inputs.items() if isinstance(kind, TensorType)})
    parts = {}
    for name, shape in shapes.items():
        parts[name] = part_of(name, layout[name], rank, groups) if name in layout else Part.all_of(shape)
        if parts[name].box.shape != shape:
            raise EmulatorError(
                f"{name} on rank {rank}: the layout gives it the shape {list(parts[name].box.shape)}, "
                f"the program {list(shape)}"
            )
    return parts
