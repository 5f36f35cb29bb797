"""What the processes of a job agree on."""

from __future__ import annotations

import signal

import numpy as np
from mindspore import Tensor, nn, ops


class Agreement(nn.Cell):
    """Makes a signal that one rank got known to all data-parallel ranks. With one process it costs nothing."""

    def __init__(self, dp: int) -> None:
        super().__init__()
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
