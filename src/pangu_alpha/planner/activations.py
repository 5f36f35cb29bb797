"""What one micro-batch leaves on a device between its forward and its backward pass, and what a pass needs on top.

The inventory is that of MindSpore's memory planner for our Cells, read from its own record of each allocation: which
results stay, in which type. Letters: c bytes of the compute type, N rows of a replica's micro-batch, N' those of a
device between the products, d the hidden size, A = samples · heads ÷ mp · S² attention weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pangu_alpha.config import RunConfig
from pangu_alpha.parallel.parameters import num_padded_rows

_FLOAT32 = 4
_ERF_MORE = 5
"""Tensors as large as the feed-forward layer's inside that GeLU with the error function keeps beyond its tanh form."""
_COMPUTE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Sizes:
    """Sizes of one micro-batch on one device, in elements unless said otherwise."""

    config: RunConfig

    @cached_property
    def compute_bytes(self) -> int:
        """Bytes of an element of the compute type."""
        return _COMPUTE_BYTES[self.config.model.compute_dtype]

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of an element of a weight's copy in the compute type. In float32 nothing is cast, but a program of
        several passes copies what it will update."""
        train, parallel = self.config.train, self.config.parallel
        is_once = train.num_micro_batches == 1 and parallel.pp == 1
        return 0 if is_once and self.config.model.compute_dtype == "float32" else self.compute_bytes

    @cached_property
    def samples(self) -> int:
        """Of a replica's micro-batch."""
        return self.config.train.batch_size // (self.config.train.num_micro_batches * self.config.parallel.dp)

    @cached_property
    def rows(self) -> int:
        """N: rows of the products."""
        return self.samples * self.config.model.seq_length

    @cached_property
    def rows_between(self) -> int:
        """N': rows between the products, which sequence parallelism splits."""
        return self.rows // self.config.parallel.mp if self.config.parallel.sequence_parallel else self.rows

    @cached_property
    def whole_hidden(self) -> int:
        """N·d: the hidden state with all its rows and channels."""
        return self.rows * self.config.model.hidden_size

    @cached_property
    def hidden(self) -> int:
        """N'·d: the hidden state as a device holds it between the products."""
        return self.rows_between * self.config.model.hidden_size

    @cached_property
    def columns(self) -> int:
        """N·d ÷ mp: queries, keys or values."""
        return self.whole_hidden // self.config.parallel.mp

    @cached_property
    def inner(self) -> int:
        """N·4d ÷ mp: inside the feed-forward layer."""
        return self.rows * self.config.model.feed_forward_size // self.config.parallel.mp

    @cached_property
    def pairs(self) -> int:
        """samples · S²: the mask."""
        return self.samples * self.config.model.seq_length**2

    @cached_property
    def attention(self) -> int:
        """A: attention weights of the device's heads."""
        return self.pairs * self.config.model.num_heads // self.config.parallel.mp

    @cached_property
    def vocabulary(self) -> int:
        """Words of the device's slice of the table."""
        mp = self.config.parallel.mp
        return num_padded_rows(self.config.model.vocab_size, mp) // mp

    @cached_property
    def logits(self) -> int:
        """N·V ÷ mp."""
        return self.rows * self.vocabulary

    @cached_property
    def table(self) -> int:
        """V·d ÷ mp: the device's slice of the word table."""
        return self.vocabulary * self.config.model.hidden_size


def layer_results(sizes: Sizes) -> dict[str, int]:
    """Bytes of all that a layer's backward pass reads, by what it is: what is kept where nothing is computed again."""
    c, parallel = sizes.compute_bytes, sizes.config.parallel
    has_dropout = sizes.config.model.dropout > 0
    normed = sizes.whole_hidden if parallel.sequence_parallel else sizes.hidden
    return {
        "attention weights": (_FLOAT32 + (2 * c if has_dropout else c)) * sizes.attention,
        "query, key, value, attended": 4 * c * sizes.columns,
        "feed-forward": (2 + (_ERF_MORE if sizes.config.model.gelu == "erf" else 0)) * c * sizes.inner,
        "inputs of the norms": 2 * _FLOAT32 * sizes.hidden,
        "results of the norms": 2 * c * normed,
        "dropout masks": 2 * c * sizes.hidden if has_dropout else 0,
    }


def kept_by_layer(sizes: Sizes) -> int:
    """Bytes that a layer keeps of a micro-batch from its forward to its backward pass.

    `selective` computes GeLU, norms, scaled queries and the softmax again, but the float32 scores that it starts from
    stay in the softmax's place, and the norms' results in the compute type. In float32 nothing is cast: the scores are
    the product's own result, one tensor less, and of the norms nothing stays but what sequence parallelism has
    gathered. `whole` keeps the layer's input and, so that no communication is repeated, its results.
    """
    c, parallel, model = sizes.compute_bytes, sizes.config.parallel, sizes.config.model
    results = layer_results(sizes)
    match parallel.rematerialisation:
        case "whole":
            gathered = 2 * sizes.whole_hidden if parallel.sequence_parallel else 0
            return c * ((2 if parallel.mp > 1 else 1) * sizes.hidden + gathered)
        case "selective":
            gelu = (_ERF_MORE - 1 if model.gelu == "erf" else 1) * c * sizes.inner
            norms = 0 if parallel.sequence_parallel else results["results of the norms"]
            cast = c * sizes.attention + norms if model.compute_dtype == "float32" else 0
            return sum(results.values()) - gelu - cast
        case _:
            return sum(results.values())


def embedding_kept(sizes: Sizes) -> int:
    """Bytes that the embedding keeps of a micro-batch: its sum and the mask of its dropout."""
    return (2 if sizes.config.model.dropout > 0 else 1) * sizes.compute_bytes * sizes.hidden


def layer_work(sizes: Sizes) -> int:
    """Most bytes of a layer while its backward pass runs, its own results included.

    The largest of: its beginning, with all results and the gradient of the last product's weight; where a norm is made
    again, with its float32 result; the backward pass of the softmax, with weights, their gradient and that of the
    scores in float32; where only cheap results are made again, the softmax, with scores before and after the mask.
    """
    config, c, parallel = sizes.config, sizes.compute_bytes, sizes.config.parallel
    results = layer_results(sizes)
    everything = sum(results.values())
    gradients = 2 * c * sizes.hidden + (c * sizes.whole_hidden if parallel.sequence_parallel else 0)
    norm = (results["inputs of the norms"] + results["results of the norms"]) // 2
    moments = [
        everything + c * 4 * config.model.hidden_size**2 // parallel.mp + gradients,
        3 * _FLOAT32 * sizes.attention + 3 * c * sizes.columns + norm + gradients,
    ]
    if config.train.num_micro_batches == 1 and parallel.pp == 1:
        # Nothing adds gradients up: those of both products of the feed-forward layer are there in float32.
        weights = (2 * _FLOAT32 + c) * 4 * config.model.hidden_size**2 // parallel.mp
        fed = results["feed-forward"] // 2 + results["dropout masks"] // 2
        moments.append(everything - fed + weights + gradients)
    if parallel.rematerialisation == "whole":
        not_yet = results["feed-forward"] + results["dropout masks"] // 2
        moments.append(everything - not_yet + _FLOAT32 * sizes.hidden + gradients)
    if parallel.rematerialisation == "selective":
        moments.append(everything - results["feed-forward"] - norm + (2 * _FLOAT32 - c) * sizes.attention + gradients)
    return max(moments) + (mask_kept(sizes) if parallel.rematerialisation == "whole" else 0)


def mask_kept(sizes: Sizes) -> int:
    """Bytes of the mask, which all layers of a micro-batch share where something is computed again."""
    return 0 if sizes.config.parallel.rematerialisation == "none" else _FLOAT32 * sizes.pairs


def layer_weights(sizes: Sizes) -> int:
    """Bytes of a layer's matrices in the compute type, as products use them."""
    return sizes.weight_bytes * 12 * sizes.config.model.hidden_size**2 // sizes.config.parallel.mp


def loss_work(sizes: Sizes) -> int:
    """Most bytes of head and loss: four float32 tensors of the logits' size, or the gradient of the word table."""
    c = sizes.compute_bytes
    gathered = c * sizes.whole_hidden if sizes.config.parallel.sequence_parallel else 0
    head = sizes.weight_bytes * sizes.table + (_FLOAT32 + c) * sizes.hidden + gathered
    loss = 4 * _FLOAT32 * sizes.logits
    gradient = (_FLOAT32 + c) * sizes.logits + c * sizes.table
    return head + max(loss, gradient)
