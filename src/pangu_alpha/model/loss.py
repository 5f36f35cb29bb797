"""Cross-entropy (paper Eq. 6), summed over the tokens that count."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from pangu_alpha.model.operators import RowLoss, on_cpu

NO_WORD = -1e9
"""Added to the logits of padded rows of the word table. In float32 it absorbs them: their probability is exactly 0."""


class TokenLoss(nn.Cell):
    """Σ -log softmax(logits)[label]·mask in float32, from single operators, so that the vocabulary can be sharded."""

    def __init__(self, vocab_size: int, num_table_rows: int) -> None:
        """Args:
        vocab_size: words that exist.
        num_table_rows: logits of a token, at least as many.
        """
        super().__init__()
        self.is_padded = num_table_rows > vocab_size
        self.no_word = Tensor(np.where(np.arange(num_table_rows) < vocab_size, 0.0, NO_WORD)[None], ms.float32)
        self.cast = ops.Cast()
        self.reshape = ops.Reshape()
        self.exclude = ops.Add()
        self.weigh = ops.Mul()
        self.total = ops.ReduceSum()
        self.in_few_passes = on_cpu()
        if self.in_few_passes:
            self.row_loss = RowLoss(num_table_rows)
            return
        self.max = ops.ReduceMax(keep_dims=True)
        self.subtract = ops.Sub()
        self.exp = ops.Exp()
        self.sum = ops.ReduceSum(keep_dims=True)
        self.log = ops.Log()
        self.add = ops.Add()
        self.pick = ops.GatherD()
        self.loss = ops.Sub()

    def construct(self, logits: Tensor, labels: Tensor, loss_mask: Tensor) -> Tensor:
        """[N, V], int32 and float32 [B, S] with B·S = N → float32 scalar."""
        logits = self.cast(logits, ms.float32)
        if self.is_padded:
            logits = self.exclude(logits, self.no_word)
        losses = self.losses(logits, self.reshape(labels, (-1, 1)))
        return self.total(self.weigh(losses, self.reshape(loss_mask, (-1, 1))))

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """float32 [N, V] and int32 [N, 1] → float32 [N, 1]."""
        if self.in_few_passes:
            return self.row_loss(logits, labels)
        # The maximum only keeps exp in range; its gradient is 0.
        maximum = ops.stop_gradient(self.max(logits, 1))
        log_sum = self.add(self.log(self.sum(self.exp(self.subtract(logits, maximum)), 1)), maximum)
        return self.loss(log_sum, self.pick(logits, 1, labels))
