"""Lookup tables for words and positions, and the layer that begins the network."""

from __future__ import annotations

from mindspore import Parameter, Tensor, nn, ops

from pangu_alpha.config import ModelConfig
from pangu_alpha.model.dropout import Dropout
from pangu_alpha.model.dtypes import compute_dtype
from pangu_alpha.model.parameter import parameter


class Table(nn.Cell):
    """One row of `size` numbers for each of `num_rows` ids."""

    table: Parameter

    def __init__(self, num_rows: int, size: int) -> None:
        super().__init__()
        self.table = parameter((num_rows, size))
        self.gather = ops.Gather()
        self.reshape = ops.Reshape()

    def construct(self, ids: Tensor) -> Tensor:
        """int32 [B, S] → float32 [B·S, size]."""
        # Their result is to be cut over mp, under sequence parallelism: of B samples, where B may be 1, it cannot be.
        return self.gather(self.table, self.reshape(ids, (-1,)), 0)


class Embedding(nn.Cell):
    """Word plus learned position, then dropout, in the compute type."""

    def __init__(self, config: ModelConfig, num_word_rows: int) -> None:
        super().__init__()
        self.compute_dtype = compute_dtype(config)
        self.word = Table(num_word_rows, config.hidden_size)
        self.position = Table(config.seq_length, config.hidden_size)
        self.dropout = Dropout(config.dropout, "embedding", config.seq_length, config.hidden_size)
        self.add = ops.Add()
        self.cast = ops.Cast()

    def construct(self, input_ids: Tensor, position_ids: Tensor, sample_keys: Tensor) -> Tensor:
        """int32 [B, S] twice and int32 [B] → [B·S, d]."""
        x = self.add(self.word(input_ids), self.position(position_ids))
        return self.dropout(self.cast(x, self.compute_dtype), sample_keys)
