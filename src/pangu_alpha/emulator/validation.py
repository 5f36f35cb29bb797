"""The loss of a network on held-out batches, by the forward-only programs of all ranks."""

from __future__ import annotations

from pangu_alpha.compiler.programs import compile_ranks
from pangu_alpha.config import RunConfig
from pangu_alpha.data import HeldOut
from pangu_alpha.emulator.processes import Processes
from pangu_alpha.emulator.step import EmulatedLoss, load_machine
from pangu_alpha.training.backend import Read


class EmulatedValidation:
    """Mean loss over held-out data, without dropout; the main process executes all ranks."""

    def __init__(self, config: RunConfig, processes: Processes) -> None:
        """Compile the programs that are not kept from before.

        Raises:
            CompileError: MindSpore refuses a program.
            EmulatorError: a program holds something unknown.
        """
        self._processes = processes
        self._loss: EmulatedLoss | None = None
        if processes.is_main:
            compiled = compile_ranks(config, range(config.parallel.num_devices), with_validation=True)
            self._loss = EmulatedLoss(config, load_machine(compiled, is_validation=True))

    def load(self, read: Read) -> None:
        """Give every rank its weights."""
        if self._loss is not None:
            self._loss.load(read)

    def mean_loss(self, data: HeldOut) -> float:
        """Token-weighted mean over all of `data`, in nats. All processes must ask, and get the same."""
        return self._processes.of_main(lambda: self._measure(data))

    def _measure(self, data: HeldOut) -> float:
        assert self._loss is not None
        loss = count = 0.0
        for index in range(data.num_batches):
            batch = data.batch(index)
            loss += self._loss(batch)
            count += float(batch.loss_mask.sum())
        return loss / count
