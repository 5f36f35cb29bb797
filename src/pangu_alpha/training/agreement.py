"""What the processes of a job agree on."""

from __future__ import annotations

import hashlib
import signal

import numpy as np
from mindspore import Tensor, nn, ops

from pangu_alpha.errors import ConfigError


class Agreement(nn.Cell):
    """Makes a signal that one rank got known to all data-parallel ranks. With one process it costs nothing."""

    def __init__(self, dp: int) -> None:
        super().__init__()
        self.num_ranks = dp
        self.is_alone = dp == 1
        if not self.is_alone:
            # A sum, because MindSpore's CPU kernel knows no maximum.
            self.all_reduce = ops.AllReduce()

    def construct(self, votes: Tensor) -> Tensor:
        """float32 [NSIG] → its sum over the ranks."""
        return self.all_reduce(votes)

    def largest(self, number: int) -> int:
        """The largest of the signal numbers that the ranks give here, 0 for none. All ranks must ask."""
        if self.is_alone:
            return number
        votes = np.zeros(signal.NSIG, np.float32)
        votes[number] = 1.0
        return int(np.flatnonzero(self(Tensor(votes)).asnumpy())[-1])

    def require_equal(self, settings: str) -> None:
        """Refuse ranks that were given different settings: their sums would mean nothing. All ranks must ask.

        Raises:
            ConfigError: on every rank alike.
        """
        if self.is_alone:
            return
        digest = np.zeros(signal.NSIG, np.float32)  # of the length of the votes: the same compiled program
        digest[:32] = np.frombuffer(hashlib.sha256(settings.encode()).digest(), np.uint8)
        total = self(Tensor(digest)).asnumpy()
        if np.any(total != self.num_ranks * digest):
            raise ConfigError(
                "the ranks of this job were started with different settings. `pangu diagnose RUN` names the rank and "
                "the setting; give all ranks the same recipe and overrides"
            )
