"""Multi-head attention (paper Eq. 2), causal and confined to the document, with or without a key/value cache."""

from __future__ import annotations

import math

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from pangu_alpha.config import ModelConfig
from pangu_alpha.model.dropout import Dropout
from pangu_alpha.model.dtypes import compute_dtype
from pangu_alpha.model.linear import Linear

MASKED = -1e9
"""Added to the score of a pair that may not attend. In float32 it absorbs the score: the weight is exactly 0."""


class AttentionMask(nn.Cell):
    """The pairs that may attend: same document, and key not after query."""

    def __init__(self, seq_length: int) -> None:
        super().__init__()
        index = np.arange(seq_length, dtype=np.int32)
        self.query_index = Tensor(index.reshape(1, -1, 1))
        self.key_index = Tensor(index.reshape(1, 1, -1))
        self.expand_documents = ops.ExpandDims()
        self.expand_pairs = ops.ExpandDims()
        self.cast = ops.Cast()
        self.same_document = ops.Equal()
        self.not_after = ops.GreaterEqual()
        self.both = ops.LogicalAnd()
        self.forbidden = ops.LogicalNot()
        self.penalty = ops.Mul()

    def construct(self, document_ids: Tensor) -> Tensor:
        """What is added to the scores.

        Args:
            document_ids: int32 [B, S], the document of each token.

        Returns:
            float32 [B, 1, S, S]: 0 or `MASKED`.
        """
        same = self.same_document(self.expand_documents(document_ids, 2), self.expand_documents(document_ids, 1))
        not_after = self.not_after(self.query_index, self.key_index)
        forbidden = self.cast(self.forbidden(self.both(same, not_after)), ms.float32)
        return self.expand_pairs(self.penalty(forbidden, MASKED), 1)


class Attention(nn.Cell):
    """Softmax(Q·Kᵀ/√head_size + mask)·V, with input and output projections."""

    def __init__(self, config: ModelConfig, place: str) -> None:
        super().__init__()
        size, dtype = config.hidden_size, compute_dtype(config)
        self.num_heads, self.head_size, self.hidden_size = config.num_heads, config.head_size, size
        self.compute_dtype = dtype
        self.query = Linear(size, size, dtype)
        self.key = Linear(size, size, dtype)
        self.value = Linear(size, size, dtype)
        self.output = Linear(size, size, dtype)
        self.scale_factor = 1.0 / math.sqrt(config.head_size)
        self.weights_dropout = Dropout(
            config.dropout, f"{place}.weights", config.num_heads * config.seq_length, config.seq_length
        )
        self.reshape = ops.Reshape()
        self.split_heads = ops.Transpose()
        self.merge_heads = ops.Transpose()
        self.scale = ops.Mul()
        self.scores = ops.BatchMatMul(transpose_b=True)
        self.add_mask = ops.Add()
        self.softmax = ops.Softmax()
        self.weighted_sum = ops.BatchMatMul()
        self.cast = ops.Cast()

    def construct(self, query_input: Tensor, key_value_input: Tensor, mask: Tensor, sample_keys: Tensor) -> Tensor:
        """Attend within each sample.

        Args:
            query_input: [B·S, d], what the queries are made of: the same as `key_value_input` in a plain layer, the
                top-query embedding in the query layer.
            key_value_input: [B·S, d].
            mask: float32 [B, 1, S, S], added to the scores.
            sample_keys: int32 [B], for dropout.

        Returns:
            [B·S, d].
        """
        batch = mask.shape[0]
        query = self.heads(self.query(query_input), batch)
        key = self.heads(self.key(key_value_input), batch)
        value = self.heads(self.value(key_value_input), batch)
        return self.attend(query, key, value, mask, sample_keys)

    def heads(self, x: Tensor, batch: int) -> Tensor:
        """[B·S, d] → [B, heads, S, head_size]."""
        return self.split_heads(self.reshape(x, (batch, -1, self.num_heads, self.head_size)), (0, 2, 1, 3))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, sample_keys: Tensor) -> Tensor:
        """[B, heads, Q, head_size] and twice [B, heads, K, head_size], mask [B, 1, Q, K] → [B·Q, d]."""
        # The queries are scaled, not the scores: smaller, and float16 scores cannot overflow before the division.
        query = self.scale(query, self.scale_factor)
        scores = self.add_mask(self.cast(self.scores(query, key), ms.float32), mask)
        weights = self.cast(self.softmax(scores), self.compute_dtype)
        weights = self.weights_dropout(weights, sample_keys)
        merged = self.merge_heads(self.weighted_sum(weights, value), (0, 2, 1, 3))
        return self.output(self.reshape(merged, (-1, self.hidden_size)))
