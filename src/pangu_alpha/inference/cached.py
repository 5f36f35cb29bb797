"""The trained network with a key/value cache: each token is computed once, not once for every token after it.

The cache is a ring of `seq_length` slots, the same slot for all rows of the batch. Prompts are aligned at their ends,
so a shorter row has unused slots before its first token; they are the ones written next when the ring comes round. So
every row can hold `seq_length` tokens, whatever the lengths of the others.

One rule does for causality, unused slots, documents and the ring: a token at position p of its document attends to its
own slot and the p slots before it.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import initializer

from pangu_alpha.config import ModelConfig
from pangu_alpha.model import PanguAlpha
from pangu_alpha.model.attention import MASKED
from pangu_alpha.model.dtypes import compute_dtype
from pangu_alpha.model.layer import Layer, QueryLayer
from pangu_alpha.model.linear import LayerNorm
from pangu_alpha.model.operators import EPSILON


class RingMask(nn.Cell):
    """The slots that each new token may attend to."""

    def __init__(self, num_slots: int) -> None:
        super().__init__()
        self.num_slots = num_slots
        self.slots = Tensor(np.arange(num_slots, dtype=np.int32).reshape(1, 1, 1, -1))
        self.reshape = ops.Reshape()
        self.subtract = ops.Sub()
        self.is_negative = ops.Less()
        self.wrap = ops.Mul()
        self.add = ops.Add()
        self.too_old = ops.Greater()
        self.cast = ops.Cast()
        self.penalty = ops.Mul()

    def construct(self, position_ids: Tensor, slots: Tensor) -> Tensor:
        """int32 [B, T] and int32 [T] → float32 [B, 1, T, num_slots], added to the scores: 0 or `MASKED`."""
        ages = self.subtract(self.reshape(slots, (1, 1, -1, 1)), self.slots)
        behind = self.cast(self.is_negative(ages, 0), ms.int32)
        ages = self.add(ages, self.wrap(behind, self.num_slots))
        positions = self.reshape(position_ids, (position_ids.shape[0], 1, -1, 1))
        return self.penalty(self.cast(self.too_old(ages, positions), ms.float32), MASKED)


class RowNorm(nn.Cell):
    """The network's LayerNorm as one operator: for a few rows the launches of its parts would cost more."""

    def __init__(self, source: LayerNorm) -> None:
        super().__init__(auto_prefix=False)
        self.source = source
        self.cast = ops.Cast()
        self.norm = ops.LayerNorm(begin_norm_axis=1, begin_params_axis=1, epsilon=EPSILON)

    def construct(self, x: Tensor) -> Tensor:
        """[N, size] → [N, size]."""
        normed = self.norm(self.cast(x, ms.float32), self.source.gamma, self.source.beta)[0]
        return self.cast(normed, self.source.compute_dtype)


class CachedLayer(nn.Cell):
    """One layer of the network, with the keys and values of the tokens it has seen."""

    def __init__(self, layer: Layer, config: ModelConfig, batch_size: int, name: str) -> None:
        super().__init__(auto_prefix=False)
        self.layer = layer
        self.attention_norm = RowNorm(layer.attention_norm)
        self.feed_forward_norm = RowNorm(layer.feed_forward_norm)
        self.takes_positions = isinstance(layer, QueryLayer)
        self.shape = (batch_size, config.num_heads, config.seq_length, config.head_size)
        rows = (batch_size * config.num_heads * config.seq_length, config.head_size)
        dtype = compute_dtype(config)
        self.keys = Parameter(initializer("zeros", rows, dtype), name=f"{name}.keys", requires_grad=False)
        self.values = Parameter(initializer("zeros", rows, dtype), name=f"{name}.values", requires_grad=False)
        self.write_keys = ops.ScatterUpdate()
        self.write_values = ops.ScatterUpdate()
        self.reshape = ops.Reshape()
        self.add_attention = ops.Add()
        self.add_feed_forward = ops.Add()

    def construct(
        self, hidden: Tensor, position_ids: Tensor, mask: Tensor, cache_rows: Tensor, sample_keys: Tensor
    ) -> Tensor:
        """Write the new tokens to the cache, then attend.

        Args:
            hidden: [B·T, d], T new tokens of each row.
            position_ids: int32 [B, T].
            mask: of `RingMask`.
            cache_rows: int32 [B·heads·T], rows of the cache that the new tokens take.
            sample_keys: int32 [B], unused outside training.

        Returns:
            [B·T, d].
        """
        attention = self.layer.attention
        normed = self.attention_norm(hidden)
        query = attention.query(self.layer.queries(position_ids) if self.takes_positions else normed)
        key = self.write_keys(self.keys, cache_rows, self.rows(attention.key(normed)))
        value = self.write_values(self.values, cache_rows, self.rows(attention.value(normed)))
        query = self.reshape(self.rows(query), (self.shape[0], self.shape[1], -1, self.shape[3]))
        key, value = self.reshape(key, self.shape), self.reshape(value, self.shape)
        hidden = self.add_attention(hidden, attention.attend(query, key, value, mask, sample_keys))
        return self.add_feed_forward(hidden, self.layer.feed_forward(self.feed_forward_norm(hidden)))

    def rows(self, x: Tensor) -> Tensor:
        """[B·T, d] → [B·heads·T, head_size], in the order of the cache."""
        if x.shape[0] > self.shape[0]:
            x = self.layer.attention.heads(x, self.shape[0])
        # With one token a sample, the heads stand in this order already.
        return self.reshape(x, (-1, self.shape[3]))


class CachedNetwork(nn.Cell):
    """`PanguAlpha` for tokens that come bit by bit. Shares the network's parameters; the caches are its own.

    Compiled once for each number T of new tokens that it is called with.
    """

    def __init__(self, network: PanguAlpha, config: ModelConfig, batch_size: int) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.norm_first = network.norm_first
        self.hidden_size = config.hidden_size
        self.mask = RingMask(config.seq_length)
        self.layers = nn.CellList(
            [CachedLayer(layer, config, batch_size, f"cache.{i}") for i, layer in enumerate(network.layers)],
            auto_prefix=False,
        )
        self.final_norm = RowNorm(network.final_norm)
        self.query_layer = CachedLayer(network.query_layer, config, batch_size, "cache.query_layer")
        first_rows = np.arange(batch_size * config.num_heads, dtype=np.int32) * config.seq_length
        self.first_rows = Tensor(first_rows.reshape(-1, 1))
        self.sample_keys = Tensor(np.zeros(batch_size, np.int32))
        self.add = ops.Add()
        self.reshape = ops.Reshape()
        self.cast = ops.Cast()

    def construct(self, input_ids: Tensor, position_ids: Tensor, slots: Tensor) -> Tensor:
        """Logits of the token after the newest.

        Args:
            input_ids: int32 [B, T], the next tokens of each row.
            position_ids: int32 [B, T], counted from the start of the token's document; 0 for padding.
            slots: int32 [T], where they go in the ring, one after the other.

        Returns:
            float32 [B, V].
        """
        network, keys = self.network, self.sample_keys
        mask = self.mask(position_ids, slots)
        cache_rows = self.reshape(self.add(self.first_rows, slots), (-1,))
        hidden = network.embedding(input_ids, position_ids, keys)
        for layer in self.layers:
            hidden = layer(hidden, position_ids, mask, cache_rows, keys)
        if self.norm_first:
            hidden = self.query_layer(self.final_norm(hidden), position_ids, mask, cache_rows, keys)
        else:
            hidden = self.final_norm(self.query_layer(hidden, position_ids, mask, cache_rows, keys))
        newest = self.reshape(hidden, (*input_ids.shape, self.hidden_size))[:, -1]
        return self.cast(network.head(newest, network.embedding.word.table), ms.float32)
