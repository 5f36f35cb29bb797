"""What the loop asks of whoever computes the steps: this machine's devices through MindSpore, or the emulator."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.data import Batch, HeldOut
from pangu_alpha.parallel.parts import Box
from pangu_alpha.training.result import StepResult
from pangu_alpha.training.scalars import UpdateScalars
from pangu_alpha.training.workers import Workers

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

    @property
    def ranks(self) -> Collection[int]:
        """The ranks of the mesh that this process plays: one, or in the emulator perhaps all."""
        ...

    def values(self, rank: int, boxes: Mapping[str, Box]) -> Iterator[NDArray[np.floating]]:
        """What `rank` holds of weights and moments: these boxes of them, in this order.

        One at a time, good until the next step.
        """
        ...

    def require_equal_copies(self) -> None:
        """Compare weights and moments on the ranks that hold the same part of them. All processes must ask.

        Raises:
            LayoutError: two ranks hold other values.
        """
        ...

    def load(self, read: Read) -> None:
        """Replace all weights and moments: asks `read` for each part that this process holds."""
        ...


@dataclass(frozen=True)
class Backend:
    """Everything that a run needs to compute."""

    step: Step
    workers: Workers
    is_main: bool
    """Whether this process is the one that writes files."""
    mean_loss: Callable[[HeldOut], float] | None
    """Mean loss of a token of held-out data, in nats, without dropout. All processes must ask. None where the backend
    was made to train only."""
    matmul_flops: float
    """Floating-point operations a second of large matrix products on all devices together; NaN where not `is_main`."""
    account: Callable[[], Mapping[str, float]] | None = None
    """What this rank has needed so far (seconds, bytes), by name; None where a process is no rank of its own."""


def reader(tensors: Mapping[str, NDArray[np.floating]]) -> Read:
    """Reads from whole tensors."""
    return lambda name, box: tensors[name][box.index]
