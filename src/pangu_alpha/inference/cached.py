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
from mindspore.common.api import _cell_graph_executor
from mindspore.common.initializer import initializer
from numpy.typing import NDArray

from pangu_alpha.config import ModelConfig
from pangu_alpha.model import PanguAlpha
from pangu_alpha.model.attention import MASKED
from pangu_alpha.model.dtypes import compute_dtype
from pangu_alpha.model.layer import Layer, QueryLayer
from pangu_alpha.model.linear import LayerNorm
from pangu_alpha.model.operators import EPSILON


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
            mask: float32 [B, 1, T, slots], added to the scores.
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


class CachedGraph(nn.Cell):
    """`PanguAlpha` for tokens that come bit by bit."""

    def __init__(self, network: PanguAlpha, config: ModelConfig, batch_size: int) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.norm_first = network.norm_first
        self.hidden_size = config.hidden_size
        self.layers = nn.CellList(
            [CachedLayer(layer, config, batch_size, f"cache.{i}") for i, layer in enumerate(network.layers)],
            auto_prefix=False,
        )
        self.final_norm = RowNorm(network.final_norm)
        self.query_layer = CachedLayer(network.query_layer, config, batch_size, "cache.query_layer")
        self.sample_keys = Tensor(np.zeros(batch_size, np.int32))
        self.reshape = ops.Reshape()
        self.cast = ops.Cast()

    def construct(
        self, input_ids: Tensor, position_ids: Tensor, mask: Tensor, cache_rows: Tensor, table: Tensor
    ) -> Tensor:
        """Logits of the token after the newest.

        Args:
            input_ids: int32 [B, T], the next tokens of each row.
            position_ids: int32 [B, T], counted from the start of the token's document; 0 for padding.
            mask, cache_rows: see `CachedLayer`.
            table: the word table [V, d]. MindSpore would copy the network's own, as the caches are written between its
                two uses.

        Returns:
            float32 [B, V].
        """
        network, keys = self.network, self.sample_keys
        hidden = network.embedding(input_ids, position_ids, keys)
        for layer in self.layers:
            hidden = layer(hidden, position_ids, mask, cache_rows, keys)
        if self.norm_first:
            hidden = self.query_layer(self.final_norm(hidden), position_ids, mask, cache_rows, keys)
        else:
            hidden = self.final_norm(self.query_layer(hidden, position_ids, mask, cache_rows, keys))
        if input_ids.shape[1] > 1:
            hidden = self.reshape(hidden, (*input_ids.shape, self.hidden_size))[:, -1]
        return self.cast(network.head(hidden, table), ms.float32)


class CachedNetwork:
    """The network with its cache. Shares the network's parameters.

    Compiled once for each number T of new tokens that it is called with.
    """

    def __init__(self, network: PanguAlpha, config: ModelConfig, batch_size: int) -> None:
        self._graph = CachedGraph(network, config, batch_size).set_train(False)
        self._compiled: dict[int, str] = {}
        """MindSpore's key of the graph for T tokens, by T."""
        self._table = network.embedding.word.table
        self._slots = np.arange(config.seq_length, dtype=np.int32)
        self._first_rows = np.arange(batch_size * config.num_heads, dtype=np.int32)[:, None] * config.seq_length

    def __call__(
        self, ids: NDArray[np.int32], positions: NDArray[np.int32], slots: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """Logits of the token after the newest, float32 [B, V].

        Args:
            ids: [B, T], the next tokens of each row.
            positions: [B, T], counted from the start of the token's document; 0 for padding.
            slots: [T], where they go in the ring, one after the other.
        """
        # Not in the graph, where mask and rows would be twelve kernels. The largest mask is that of a prompt's piece.
        ages = (slots[:, None] - self._slots) % len(self._slots)
        mask = np.where(ages > positions[:, None, :, None], np.float32(MASKED), np.float32(0))
        cache_rows = (self._first_rows + slots).reshape(-1)
        # A tensor over the memory of the table: the Parameter itself would be recognised, and copied again.
        table = Tensor(self._table)
        logits: NDArray[np.float32] = self._run(
            Tensor(ids), Tensor(positions), Tensor(mask), Tensor(cache_rows), table
        ).asnumpy()
        return logits

    def _run(self, input_ids: Tensor, *others: Tensor) -> Tensor:
        """Call the graph. The Cell's own call would tell each Cell in it which graph is meant: half a millisecond."""
        graph, num_tokens = self._graph, input_ids.shape[1]
        if num_tokens not in self._compiled:
            graph.compile(input_ids, *others)
            self._compiled[num_tokens] = graph.arguments_key
        graph.arguments_key = self._compiled[num_tokens]
        return _cell_graph_executor(graph, input_ids, *others, phase=graph.phase)
