"""The global norm of the gradients, of which a rank may hold any part."""

from __future__ import annotations

from collections.abc import Sequence

from mindspore import Tensor, nn, ops

from pangu_alpha.model.operators import SumOfSquares


class SquaredNorm(nn.Cell):
    """Σ share·‖gradient‖² over this rank's gradients. With the right shares, all ranks' sum counts each once."""

    def __init__(self, shares: Sequence[float]) -> None:
        """Args:
        shares: for each gradient, 1 ÷ the number of ranks that hold the same one.
        """
        super().__init__(auto_prefix=False)
        self.shares = tuple(shares)
        self.sum_of_squares = SumOfSquares()
        self.weigh = ops.Mul()
        self.add_all = ops.AddN()
        # Not a loop: MindSpore nests the iterations of one, and the 200B network's thousand exceed its depth.
        self.map = ops.HyperMap()

    def construct(self, gradients: tuple[Tensor, ...]) -> Tensor:
        """Float32 scalar."""
        return self.add_all(self.map(self.share_of_one, gradients, self.shares))

    def share_of_one(self, gradient: Tensor, share: float) -> Tensor:
        """Float32 scalar."""
        square = self.sum_of_squares(gradient)
        return square if share == 1.0 else self.weigh(square, share)


class AddOverRanks(nn.Cell):
    """Scalars, added up over all ranks in one message."""

    def __init__(self) -> None:
        super().__init__(auto_prefix=False)
        self.stack = ops.Stack()
        self.all_reduce = ops.AllReduce()

    def construct(self, *scalars: Tensor) -> tuple[Tensor, ...]:
        """Float32 scalars, as many as came in."""
        total = self.all_reduce(self.stack(scalars))
        sums: tuple[Tensor, ...] = ()
        for i in range(len(scalars)):
            sums += (total[i],)
        return sums
