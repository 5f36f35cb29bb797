"""What the loop asks of whoever computes the steps: this machine's devices through MindSpore, or the emulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.data import Batch
from pangu_alpha.training.optimizer import UpdateScalars
from pangu_alpha.training.result import StepResult


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

    def tensors(self) -> dict[str, NDArray[np.floating]]:
        """Weights and moments by name, whole, whatever the topology; good until the next step. All ranks must ask."""
        ...

    def load(self, tensors: Mapping[str, NDArray[np.floating]]) -> None:
        """Replace the weights and moments that `tensors` names."""
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
