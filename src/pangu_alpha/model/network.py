"""PanGu-α: embedding, layers, query layer, head tied to the word table. Single-device mathematics.

Where it differs from a GPT-2: the topmost layer takes its queries from learned positions (`QueryLayer`), the attention
stays inside each document, positions restart with each document, and the final LayerNorm sits on either side of the
query layer. There is no head bias.

Shapes: B samples of S tokens, hidden size d, vocabulary V. Activations are [B·S, d].
"""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from pangu_alpha.config import ModelConfig
from pangu_alpha.data import Batch
from pangu_alpha.model.dtypes import compute_dtype
from pangu_alpha.model.embedding import Embedding
from pangu_alpha.model.layer import Layer, QueryLayer
from pangu_alpha.model.linear import LayerNorm
from pangu_alpha.model.loss import TokenLoss
from pangu_alpha.model.parameter import initialise


class Head(nn.Cell):
    """Scores of all words: hidden · word tableᵀ. The table is an argument: a pipeline can send it to this stage."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.compute_dtype = compute_dtype(config)
        self.cast = ops.Cast()
        self.matmul = ops.MatMul(transpose_b=True)

    def construct(self, hidden: Tensor, table: Tensor) -> Tensor:
        """[N, d] and [V, d] → [N, V] in the compute type."""
        return self.matmul(hidden, self.cast(table, self.compute_dtype))


class PanguAlpha(nn.Cell):
    """The network: token ids to logits."""

    def __init__(self, config: ModelConfig, num_table_rows: int | None = None) -> None:
        """Args:
        config: of the network.
        num_table_rows: rows of the word table when it is padded beyond `vocab_size`, so that it can be split.
        """
        super().__init__()
        self.vocab_size = config.vocab_size
        self.norm_first = config.final_norm == "before_query_layer"
        self.embedding = Embedding(config, num_table_rows or config.vocab_size)
        self.layers = nn.CellList([Layer(config, f"layers.{i}") for i in range(config.num_layers - 1)])
        self.query_layer = QueryLayer(config)
        self.final_norm = LayerNorm(config.hidden_size, compute_dtype(config))
        self.head = Head(config)

    def construct(self, input_ids: Tensor, position_ids: Tensor, document_ids: Tensor, sample_keys: Tensor) -> Tensor:
        """Logits of the token after each token; those of padded rows of the table mean nothing.

        Args:
            input_ids: int32 [B, S].
            position_ids: int32 [B, S], counted from the start of the token's document.
            document_ids: int32 [B, S]; a token sees earlier tokens of the same number.
            sample_keys: int32 [B], which elements dropout drops; unused outside training.

        Returns:
            [B·S, V] in the compute type.
        """
        hidden = self.embedding(input_ids, position_ids, sample_keys)
        for layer in self.layers:
            hidden = layer(hidden, document_ids, sample_keys)
        if self.norm_first:
            hidden = self.query_layer(self.final_norm(hidden), position_ids, document_ids, sample_keys)
        else:
            hidden = self.final_norm(self.query_layer(hidden, position_ids, document_ids, sample_keys))
        return self.head(hidden, self.embedding.word.table)


class PanguAlphaLoss(nn.Cell):
    """The network and its loss, summed over the tokens that count."""

    def __init__(self, network: PanguAlpha) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.token_loss = TokenLoss(network.vocab_size, network.embedding.word.table.shape[0])

    def construct(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        document_ids: Tensor,
        labels: Tensor,
        loss_mask: Tensor,
        sample_keys: Tensor,
    ) -> Tensor:
        """Sum of the losses of the counted tokens, in nats.

        Args:
            labels: int32 [B, S], the token after each input token.
            loss_mask: float32 [B, S], 1 for labels that count and 0 for padding.
            input_ids, position_ids, document_ids, sample_keys: as in `PanguAlpha`.

        Returns:
            float32 scalar.
        """
        logits = self.network(input_ids, position_ids, document_ids, sample_keys)
        return self.token_loss(logits, labels, loss_mask)


def batch_tensors(batch: Batch) -> tuple[Tensor, ...]:
    """The inputs of `PanguAlphaLoss`."""
    return tuple(map(Tensor, batch.arrays()))


def build_network(config: ModelConfig, seed: int) -> PanguAlpha:
    """The network with the published start for `seed`; parameters are named after their place."""
    network = PanguAlpha(config)
    initialise(network, config, seed)
    return network
