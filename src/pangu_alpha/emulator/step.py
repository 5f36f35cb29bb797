"""The training step, executed by the emulator: same inputs, results and tensors as the step of one process."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np

from pangu_alpha.compiler.programs import CompiledRank, compile_ranks
from pangu_alpha.config import ModelConfig, RunConfig
from pangu_alpha.data import Batch
from pangu_alpha.emulator.collectives import Transport
from pangu_alpha.emulator.dtypes import Precision
from pangu_alpha.emulator.machine import Machine
from pangu_alpha.errors import EmulatorError
from pangu_alpha.parallel.parameters import row_of, tensor_names
from pangu_alpha.parallel.parts import Box, without_padding
from pangu_alpha.program.graph import Array, read_program
from pangu_alpha.topology.mesh import Mesh
from pangu_alpha.training.backend import Read
from pangu_alpha.training.result import StepResult, step_result
from pangu_alpha.training.scalars import CONTROLS, UpdateScalars, control_values


class EmulatedStep:
    """All ranks of a recipe's mesh."""

    def __init__(self, config: RunConfig, machine: Machine) -> None:
        """Args:
        config: the recipe that the programs were compiled from.
        machine: with the programs.
        """
        self.machine = machine
        self._config = config

    def __call__(self, batch: Batch, num_tokens: int, scalars: UpdateScalars, loss_scale: float) -> StepResult:
        """Do one step on a global batch; see `TrainStep`.

        Raises:
            EmulatorError: ranks deadlock, or do not agree about the loss or the norm.
        """
        values = control_values(self._config, num_tokens, scalars, loss_scale)
        self.machine.scatter(dict(zip(CONTROLS, map(np.array, values), strict=True)))
        results = self.machine.step(*batch.arrays())
        (first, (loss, norm)), *others = ((rank, tuple(map(float, result))) for rank, (result,) in results.items())
        for rank, result in others:
            if not np.array_equal(result, (loss, norm), equal_nan=True):
                raise EmulatorError(
                    f"ranks {first} and {rank} do not agree: loss {loss!r} and {result[0]!r}, "
                    f"gradient norm {norm!r} and {result[1]!r}"
                )
        return step_result(self._config, loss, norm, num_tokens, scalars.limits)

    @property
    def ranks(self) -> Collection[int]:
        """See `Step`."""
        return self.machine.ranks

    def tensors(self, names: Sequence[str] | None = None) -> dict[str, Array]:
        """Weights and moments, whole, without padding; None: all of them. All processes must ask.

        Raises:
            LayoutError: two ranks hold the same part of a tensor, and not the same values.
        """
        names = tensor_names(self._config.model) if names is None else names
        return {name: self._stripped(name, tensor) for name, tensor in self.machine.gather(names).items()}

    def values(self, rank: int, boxes: Mapping[str, Box]) -> Iterator[Array]:
        """See `Step`."""
        for name, box in boxes.items():
            held, values = self.machine.part(rank, name)
            yield values[box.index_in(held.box)]

    def load(self, read: Read) -> None:
        """See `Step`."""
        fill(self.machine, self._config.model, read)

    def require_equal_copies(self) -> None:
        """Compare all that lasts from step to step, sums of gradients and controls too, on the ranks that hold it.

        Raises:
            LayoutError: two ranks hold the same part of a tensor, and not the same values.
        """
        self.machine.gather()

    def gradients(self) -> dict[str, Array]:
        """What the optimizer was given in the last step: clipped gradients of the mean loss, whole."""
        return {name: self._stripped(name, tensor) for name, tensor in self.machine.gradients().items()}

    def _stripped(self, name: str, tensor: Array) -> Array:
        return tensor[tuple(map(slice, row_of(name).shape(self._config.model)))]


class EmulatedLoss:
    """The programs of validation of all ranks of a recipe's mesh."""

    def __init__(self, config: RunConfig, machine: Machine) -> None:
        """Args:
        config: the recipe that the programs were compiled from.
        machine: with the programs.
        """
        self._config, self._machine = config, machine

    def load(self, read: Read) -> None:
        """Give every rank the weights that its program uses."""
        fill(self._machine, self._config.model, read)

    def tensors(self) -> dict[str, Array]:
        """All that the programs hold, sums of gradients too, whole, with padding; copies.

        Raises:
            LayoutError: two ranks hold the same part of a tensor, and not the same values.
        """
        return {name: tensor.copy() for name, tensor in self._machine.gather().items()}

    def __call__(self, batch: Batch) -> float:
        """Sum of the losses of the counted tokens of a global batch, in nats, without dropout.

        Raises:
            EmulatorError: the ranks of the last stage, which know it, do not agree.
        """
        mesh = Mesh.of(self._config.parallel)
        results = self._machine.step(*batch.arrays())
        losses = {rank: float(results[rank][0]) for rank in mesh.stage_ranks(mesh.pp - 1) if rank in results}
        if len(set(losses.values())) != 1:
            raise EmulatorError(f"the ranks of the last stage do not agree on the loss: {losses}")
        return next(iter(losses.values()))


def fill(machine: Machine, model: ModelConfig, read: Read) -> None:
    """Give every rank its part of every weight and moment that its program has. Padding becomes 0."""
    for name in tensor_names(model):
        for rank, held in machine.parts(name).items():
            box = without_padding(name, held, model)
            values = np.zeros(held.box.shape)
            if box.num_elements:  # nothing where a rank holds only padding
                values[box.index_in(held.box)] = read(name, box)
            machine.write(rank, name, values)


def load_machine(
    compiled: Iterable[CompiledRank],
    precision: Precision = "native",
    transport: Transport | None = None,
    *,
    is_validation: bool = False,
) -> Machine:
    """The machine of the ranks of this process, from their programs on disk: those of a step, or of validation."""
    compiled = tuple(compiled)
    programs = {item.rank: read_program(item.validation if is_validation else item.program) for item in compiled}
    return Machine(programs, {item.rank: item.layout for item in compiled}, precision=precision, transport=transport)


def emulated_step(config: RunConfig, precision: Precision = "native", num_jobs: int | None = None) -> EmulatedStep:
    """Compile all ranks of `config` (or take kept programs) and make them ready to run in this process."""
    compiled = compile_ranks(config, range(config.parallel.num_devices), num_jobs=num_jobs)
    return EmulatedStep(config, load_machine(compiled, precision))


def emulated_loss(config: RunConfig, precision: Precision = "native", num_jobs: int | None = None) -> EmulatedLoss:
    """The same for the programs of validation."""
    every_rank = range(config.parallel.num_devices)
    compiled = compile_ranks(config, every_rank, with_validation=True, num_jobs=num_jobs)
    return EmulatedLoss(config, load_machine(compiled, precision, is_validation=True))
