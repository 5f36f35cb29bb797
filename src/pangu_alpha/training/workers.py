"""What the processes of a job agree on."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops


class Agreement(nn.Cell):
    """Makes a number known to all data-parallel ranks. With one process it costs nothing."""

    def __init__(self, dp: int) -> None:
        super().__init__()
        self.is_alone = dp == 1
        self.all_reduce = None if dp == 1 else ops.AllReduce(ops.ReduceOp.MAX)

    def construct(self, number: Tensor) -> Tensor:
        """float32 [1] → its maximum over the ranks."""
        return self.all_reduce(number)

    def largest(self, number: int) -> int:
        """The largest of the numbers that the ranks give here. All ranks must ask."""
        return number if self.is_alone else int(self(Tensor([number], ms.float32)).asnumpy()[0])
