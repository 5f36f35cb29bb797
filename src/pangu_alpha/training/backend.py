"""What the loop asks of whoever computes the steps: this machine's devices through MindSpore, or the emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.config import ModelConfig
from pangu_alpha.data import Batch
from pangu_alpha.errors import LayoutError
from pangu_alpha.parallel.parameters import row_of, tensor_names
from pangu_alpha.parallel.parts import Box
from pangu_alpha.training.result import StepResult
from pangu_alpha.training.scalars import UpdateScalars

Read = Callable[[str, Box], NDArray[np.floating]]
"""Gives the part of a weight or moment with this name and place in the whole."""


class Step(Protocol):
    """Computes steps, and holds the weights and moments that they change."""

    def __call__(self, batch: Batch, num_tokens: int, scalars: UpdateScalars, loss_scale: float) -> StepResult:
        """Do one step.

        Args:
            batch: the whole global batch, on every rank.
            num_tokens: its counted tokens.
            scalars: of the optimizer.
            loss_scale: factor on the loss during the backward pass.
        """
        ...

    def owned_parts(self, names: Sequence[str]) -> Iterator[tuple[str, Box, NDArray[np.floating]]]:
        """The parts of weights and moments that this process writes down: name, place in the whole, values.

        One at a time, without padding, good until the next step. Together the processes yield every element once. All
        must ask, for the same names, and take all.
        """
        ...

    def load(self, read: Read) -> None:
        """Replace all weights and moments: asks `read` for each part that this process holds."""
        ...


class Workers(Protocol):
    """What the processes of a job agree on; all of them must ask."""

    def largest(self, number: int) -> int:
        """The largest of the numbers that they give."""
        ...

    def require_equal(self, settings: str) -> None:
        """Refuse processes that were given different settings.

        Raises:
            ConfigError: on every process alike.
        """
        ...


@dataclass(frozen=True)
class Backend:
    """Everything that a run needs to compute."""

    step: Step
    workers: Workers
    is_main: bool
    """Whether this process is the one that writes files."""
    mean_loss: Callable[[], float] | None
    """Mean loss of a token of the validation data, without dropout; None when there is none. All processes must ask."""
    matmul_flops: float
    """Floating-point operations a second of large matrix products on all devices together; NaN where not `is_main`."""


def whole_tensors(
    step: Step, model: ModelConfig, names: Sequence[str] | None = None
) -> dict[str, NDArray[np.floating]]:
    """Weights and moments, as far as this process writes them down. All processes must ask.

    Args:
        step: has them.
        model: the network's settings.
        names: of those that are wanted; None: all.

    Raises:
        LayoutError: the process writes down a part of one only.
    """
    tensors = {}
    for name, box, values in step.owned_parts(tensor_names(model) if names is None else names):
        if box != Box.all_of(row_of(name).shape(model)):
            raise LayoutError(f"{name} is written down in several parts: this process has it nowhere whole")
        tensors[name] = values
    return tensors


def reader(tensors: Mapping[str, NDArray[np.floating]]) -> Read:
    """Reads from whole tensors."""
    return lambda name, box: tensors[name][box.index]
