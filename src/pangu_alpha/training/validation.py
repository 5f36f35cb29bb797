"""The loss of a network on held-out batches."""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from pangu_alpha.data import HeldOut
from pangu_alpha.model import PanguAlpha, PanguAlphaLoss, batch_tensors


class _LossSums(nn.Cell):
    def __init__(self, loss: PanguAlphaLoss, dp: int) -> None:
        super().__init__(auto_prefix=False)
        self.loss = loss
        self.count = ops.ReduceSum()
        self.all_reduce = ops.AllReduce() if dp > 1 else None

    def construct(self, *batch: Tensor) -> tuple[Tensor, Tensor]:
        loss_sum, count = self.loss(*batch), self.count(batch[4])
        if self.all_reduce is not None:
            loss_sum, count = self.all_reduce(loss_sum), self.all_reduce(count)
        return loss_sum, count


class LossEvaluator:
    """Mean loss over held-out data, without dropout; the ranks share the rows of each batch."""

    def __init__(self, network: PanguAlpha, dp: int = 1, rank: int = 0) -> None:
        self._network, self._dp, self._rank = network, dp, rank
        self._sums = _LossSums(PanguAlphaLoss(network), dp)
        self.parts: list[tuple[float, int]] = []
        """Nats and scored tokens of each batch of the last time: two networks can be compared batch by batch."""

    def mean_loss(self, data: HeldOut) -> float:
        """Token-weighted mean over all of `data`, in nats."""
        self._sums.set_train(False)
        self.parts = []
        num_rows = data.batch_size // self._dp
        rows = slice(self._rank * num_rows, (self._rank + 1) * num_rows)
        for index in range(data.num_batches):
            loss_sum, num_tokens = self._sums(*batch_tensors(data.batch(index, rows)))
            self.parts.append((float(loss_sum), int(num_tokens)))
        self._network.set_train()
        return sum(loss for loss, _ in self.parts) / sum(count for _, count in self.parts)
