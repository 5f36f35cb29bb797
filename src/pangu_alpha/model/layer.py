"""The transformer layer (paper Eq. 3-4) and the query layer on top of the stack (paper §2.2.2, Eq. 5)."""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from pangu_alpha.config import ModelConfig
from pangu_alpha.model.attention import Attention, AttentionMask
from pangu_alpha.model.dropout import Dropout
from pangu_alpha.model.dtypes import compute_dtype
from pangu_alpha.model.embedding import Table
from pangu_alpha.model.feed_forward import FeedForward
from pangu_alpha.model.linear import LayerNorm


class LayerParts(nn.Cell):
    """What both kinds of layer are made of; they differ in where the queries come from."""

    def __init__(self, config: ModelConfig, place: str) -> None:
        super().__init__()
        dtype = compute_dtype(config)
        # Every layer makes its own mask, so that a pipeline stage needs nothing from another. They are the same
        # operators on the same input: where layers share a graph, MindSpore's compiler keeps one.
        self.mask = AttentionMask(config.seq_length)
        self.attention_norm = LayerNorm(config.hidden_size, dtype)
        self.attention = Attention(config, f"{place}.attention")
        self.feed_forward_norm = LayerNorm(config.hidden_size, dtype)
        self.feed_forward = FeedForward(config)
        rows, size = config.seq_length, config.hidden_size
        self.attention_dropout = Dropout(config.dropout, f"{place}.attention", rows, size)
        self.feed_forward_dropout = Dropout(config.dropout, f"{place}.feed_forward", rows, size)
        self.add_attention = ops.Add()
        self.add_feed_forward = ops.Add()

    def finish(self, hidden: Tensor, attended: Tensor, sample_keys: Tensor) -> Tensor:
        """Both residual sums, given what the attention has returned: twice [B·S, d] → [B·S, d]."""
        hidden = self.add_attention(hidden, self.attention_dropout(attended, sample_keys))
        fed_forward = self.feed_forward(self.feed_forward_norm(hidden))
        return self.add_feed_forward(hidden, self.feed_forward_dropout(fed_forward, sample_keys))


class Layer(LayerParts):
    """Pre-LN: h + Attention(LN(h)), then h + FeedForward(LN(h))."""

    def construct(self, hidden: Tensor, document_ids: Tensor, sample_keys: Tensor) -> Tensor:
        """[B·S, d], int32 [B, S], int32 [B] → [B·S, d]."""
        sample_keys = _after(hidden, sample_keys)
        normed = self.attention_norm(hidden)
        attended = self.attention(normed, normed, self.mask(document_ids), sample_keys)
        return self.finish(hidden, attended, sample_keys)


class QueryLayer(LayerParts):
    """A layer whose queries come from a learned embedding of the position instead of the hidden state.

    The embedding gets no LayerNorm and no dropout; keys and values come from LN(hidden), and the residual stream stays
    the hidden state (released code; the paper's p_n is row n of `top_query`).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, "query_layer")
        self.compute_dtype = compute_dtype(config)
        self.top_query = Table(config.seq_length, config.hidden_size)
        self.cast = ops.Cast()

    def construct(self, hidden: Tensor, position_ids: Tensor, document_ids: Tensor, sample_keys: Tensor) -> Tensor:
        """[B·S, d], twice int32 [B, S], int32 [B] → [B·S, d]."""
        sample_keys = _after(hidden, sample_keys)
        mask = self.mask(document_ids)
        attended = self.attention(self.queries(position_ids), self.attention_norm(hidden), mask, sample_keys)
        return self.finish(hidden, attended, sample_keys)

    def queries(self, position_ids: Tensor) -> Tensor:
        """int32 [B, S] → [B·S, d]."""
        return self.cast(self.top_query(position_ids), self.compute_dtype)


def _after(hidden: Tensor, sample_keys: Tensor) -> Tensor:
    """`sample_keys`, once `hidden` is there: else the dropout masks of all layers would be made first, and kept."""
    return ops.depend(sample_keys, hidden)
