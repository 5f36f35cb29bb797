"""PanGu-α in float64 NumPy, written from the paper (§2.2, Figures 2 and 3), without a mask and without position ids.

A sample is cut after each end-of-document id, and each piece goes through the network alone, one attention head and one
query token at a time. That a token sees only its own document, and that positions restart, is therefore true by
construction. Parameters are a dict by the network's names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.config import ModelConfig

Array = NDArray[np.float64]
Parameters = Mapping[str, Array]


def sample_logits(parameters: Parameters, config: ModelConfig, tokens: NDArray[np.int32], eod_id: int) -> Array:
    """Logits [S, V] of one sample's tokens [S]."""
    ends = np.flatnonzero(tokens == eod_id) + 1
    return np.concatenate([document_logits(parameters, config, part) for part in np.split(tokens, ends) if len(part)])


def document_logits(parameters: Parameters, config: ModelConfig, tokens: NDArray[np.int32]) -> Array:
    """Logits [n, V] of one document's tokens [n]."""
    words = parameters["embedding.word.table"]
    hidden = words[tokens] + parameters["embedding.position.table"][: len(tokens)]
    for i in range(config.num_layers - 1):
        keys_values = layer_norm(parameters, f"layers.{i}.attention_norm", hidden)
        hidden = rest_of_layer(parameters, f"layers.{i}", config, hidden, keys_values, keys_values)
    if config.final_norm == "before_query_layer":
        hidden = layer_norm(parameters, "final_norm", hidden)
    hidden = query_layer(parameters, "query_layer", config, hidden)
    if config.final_norm == "after_query_layer":
        hidden = layer_norm(parameters, "final_norm", hidden)
    return hidden @ words.T


def query_layer(parameters: Parameters, place: str, config: ModelConfig, hidden: Array) -> Array:
    """Equation 5: p_n asks, LN(hidden) answers, the sum goes on from hidden. [n, d] → [n, d]."""
    asked = parameters[f"{place}.top_query.table"][: len(hidden)]
    keys_values = layer_norm(parameters, f"{place}.attention_norm", hidden)
    return rest_of_layer(parameters, place, config, hidden, asked, keys_values)


def rest_of_layer(
    parameters: Parameters, place: str, config: ModelConfig, hidden: Array, asked: Array, keys_values: Array
) -> Array:
    """Equations 3 and 4 from the attention on: queries of `asked`, keys and values of `keys_values`."""
    hidden = hidden + attention(parameters, f"{place}.attention", config, asked, keys_values)
    inner = affine(
        parameters, f"{place}.feed_forward.expand", layer_norm(parameters, f"{place}.feed_forward_norm", hidden)
    )
    return hidden + affine(parameters, f"{place}.feed_forward.contract", gelu(inner))


def attention(parameters: Parameters, place: str, config: ModelConfig, asked: Array, keys_values: Array) -> Array:
    """Equation 2, each head and each token by itself."""
    queries = affine(parameters, f"{place}.query", asked)
    keys = affine(parameters, f"{place}.key", keys_values)
    values = affine(parameters, f"{place}.value", keys_values)
    heads = np.zeros_like(queries)
    for first in range(0, config.hidden_size, config.head_size):
        head = slice(first, first + config.head_size)
        for n in range(len(queries)):
            scores = keys[: n + 1, head] @ queries[n, head] / math.sqrt(config.head_size)
            weights = np.exp(scores - scores.max())
            heads[n, head] = weights / weights.sum() @ values[: n + 1, head]
    return affine(parameters, f"{place}.output", heads)


def affine(parameters: Parameters, place: str, x: Array) -> Array:
    return x @ parameters[f"{place}.weight"] + parameters[f"{place}.bias"]


def layer_norm(parameters: Parameters, place: str, x: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * parameters[f"{place}.gamma"] + parameters[f"{place}.beta"]


def gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def loss_sum(
    parameters: Parameters, config: ModelConfig, windows: NDArray[np.int32], eod_id: int, pad_id: int
) -> float:
    """Equation 6 summed over the tokens of `windows` [B, S + 1] that are not padding."""
    total = 0.0
    for window in windows:
        logits = sample_logits(parameters, config, window[:-1], eod_id)
        for scores, label in zip(logits, window[1:], strict=True):
            if label != pad_id:
                total += np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[label]
    return float(total)
