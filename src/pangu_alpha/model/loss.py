"""Cross-entropy (paper Eq. 6) of each token."""

from __future__ import annotations

import mindspore as ms
from mindspore import Tensor, nn, ops


class TokenLoss(nn.Cell):
    """-log softmax(logits)[label] in float32, from single operators, so that the vocabulary can be sharded."""

    def __init__(self) -> None:
        super().__init__()
        self.cast = ops.Cast()
        self.reshape = ops.Reshape()
        self.max = ops.ReduceMax(keep_dims=True)
        self.subtract = ops.Sub()
        self.exp = ops.Exp()
        self.sum = ops.ReduceSum(keep_dims=True)
        self.log = ops.Log()
        self.add = ops.Add()
        self.pick = ops.GatherD()
        self.loss = ops.Sub()

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        """[N, V] and int32 [B, S] with B·S = N → float32 [N]."""
        logits = self.cast(logits, ms.float32)
        # The maximum only keeps exp in range; its gradient is 0.
        maximum = ops.stop_gradient(self.max(logits, 1))
        log_sum = self.add(self.log(self.sum(self.exp(self.subtract(logits, maximum)), 1)), maximum)
        picked = self.pick(logits, 1, self.reshape(labels, (-1, 1)))
        return self.reshape(self.loss(log_sum, picked), (-1,))
