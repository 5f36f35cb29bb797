"""What the processes of a job agree on."""

from __future__ import annotations

import hashlib
import secrets
import signal

import numpy as np
from mindspore import Tensor, nn, ops
from numpy.typing import NDArray

from pangu_alpha.errors import ConfigError

_SIZE = signal.NSIG
"""Of what is added up: always the same, so that one program is compiled."""


class Agreement(nn.Cell):
    """What one process knows, told to all data-parallel ones. With one process it costs nothing."""

    def __init__(self, dp: int = 1, rank: int = 0) -> None:
        """Args:
        dp: number of the processes.
        rank: this one's number.
        """
        super().__init__()
        self.num_ranks, self.rank = dp, rank
        self.is_alone = dp == 1
        if not self.is_alone:
            # A sum, because MindSpore's CPU kernel knows no maximum.
            self.all_reduce = ops.AllReduce()

    def construct(self, numbers: Tensor) -> Tensor:
        """float32 [NSIG] → its sum over the processes."""
        return self.all_reduce(numbers)

    def largest(self, number: int) -> int:
        """See `Workers`; up to the largest number of a signal."""
        if self.is_alone:
            return number
        votes = np.zeros(_SIZE, np.float32)
        votes[int(number)] = 1.0  # NumPy takes a bool for a mask
        return int(np.flatnonzero(self._sum(votes))[-1])

    def is_equal(self, text: str) -> bool:
        """See `Workers`. Digests are added up: their sum is a multiple of each only where all are the same."""
        if self.is_alone:
            return True
        digest = hashlib.sha256(text.encode()).digest()
        numbers = np.zeros(_SIZE, np.float32)
        numbers[: len(digest)] = np.frombuffer(digest, np.uint8)
        return bool(np.all(self._sum(numbers) == self.num_ranks * numbers))

    def require_equal(self, settings: str) -> None:
        """See `Workers`."""
        if not self.is_equal(settings):
            raise ConfigError(
                "the ranks of this job were started with different settings. `pangu diagnose RUN` names the rank and "
                "the setting; give all ranks the same recipe and overrides"
            )

    def attempt(self) -> str:
        """See `Workers`."""
        drawn = np.zeros(_SIZE, np.float32)
        if self.rank == 0:
            drawn[:8] = np.frombuffer(secrets.token_bytes(8), np.uint8)
        return (drawn if self.is_alone else self._sum(drawn))[:8].astype(np.uint8).tobytes().hex()

    def _sum(self, numbers: NDArray[np.float32]) -> NDArray[np.float32]:
        total: NDArray[np.float32] = self(Tensor(numbers)).asnumpy()
        return total
