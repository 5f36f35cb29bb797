"""The cache changes nothing: the same logits and tokens as computing the whole context anew for each token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pangu_alpha.inference.cached import CachedNetwork

EOD = 2
PROMPTS = ["话说天下大势", "分", "周末七国"]


@pytest.mark.parametrize("final_norm", ["before_query_layer", "after_query_layer"])
def test_cached_logits_and_greedy_tokens_equal_full_recomputation(
    final_norm: str,
    inference_config: Callable[..., Any],
    inference_network: Callable[..., Any],
    inference_tokenizer: Any,
    recompute: Callable[..., np.ndarray],
) -> None:
    config = inference_config(final_norm=final_norm)
    network = inference_network(config)
    contexts = [inference_tokenizer.encode(prompt) for prompt in PROMPTS]
    contexts[2][5:5] = [EOD]  # two documents in one prompt
    contexts.append([*inference_tokenizer.encode("合"), EOD])  # ends with the end of a document
    cached = CachedNetwork(network, config, len(contexts))
    length = max(map(len, contexts))
    ids, positions = np.zeros((2, len(contexts), length), np.int32)
    for row, context in enumerate(contexts):
        ids[row, -len(context) :] = context
        positions[row, -len(context) :] = _positions(context)
    slots = np.arange(length, dtype=np.int32)
    # The longest row goes to the last of the 40 slots, the others past it, into slots that held padding.
    for step in range(config.seq_length - length):
        logits = cached(ids, positions, slots)
        for row, context in enumerate(contexts):
            expected = recompute(network, config, context, EOD)
            np.testing.assert_allclose(logits[row], expected, rtol=0, atol=1e-5 * np.abs(expected).max())
            assert logits[row].argmax() == expected.argmax()
            context.append(int(expected.argmax()))
        ids = np.array([[context[-1]] for context in contexts], np.int32)
        positions = np.array([[_positions(context)[-1]] for context in contexts], np.int32)
        slots = np.array([length + step], np.int32)


def test_the_ring_comes_round_into_the_padding_of_shorter_rows(
    inference_config: Callable[..., Any],
    inference_network: Callable[..., Any],
    inference_tokenizer: Any,
    recompute: Callable[..., np.ndarray],
) -> None:
    config = inference_config(seq_length=16)
    network = inference_network(config)
    cached = CachedNetwork(network, config, 1)
    tokens = inference_tokenizer.encode("天下大势，分")[:16]
    ids, positions = np.zeros((2, 1, 12), np.int32)
    ids[0, -2:], positions[0, -2:] = tokens[:2], [0, 1]
    logits = cached(ids, positions, np.arange(12, dtype=np.int32))
    for count in range(2, 16):
        np.testing.assert_allclose(logits[0], recompute(network, config, tokens[:count], EOD), atol=2e-5)
        ids, positions = np.array([[tokens[count]]], np.int32), np.array([[count]], np.int32)
        slots = np.array([(10 + count) % 16], np.int32)
        logits = cached(ids, positions, slots)
    np.testing.assert_allclose(logits[0], recompute(network, config, tokens, EOD), atol=2e-5)


def test_two_networks_of_one_shape_are_told_apart(
    inference_config: Callable[..., Any], inference_network: Callable[..., Any], recompute: Callable[..., np.ndarray]
) -> None:
    config = inference_config()
    networks = [inference_network(config), inference_network(config)]
    for item in networks[1].trainable_params():
        item.set_data(item * 0.5)
    caches = [CachedNetwork(network, config, 1) for network in networks]
    tokens = [7, 9, 11]
    for place, token in enumerate(tokens):  # in turns: both caches have the same names
        for network, cached in zip(networks, caches, strict=True):
            logits = cached(np.array([[token]], np.int32), np.array([[place]], np.int32), np.array([place], np.int32))
            expected = recompute(network, config, tokens[: place + 1], EOD)
            np.testing.assert_allclose(logits[0], expected, atol=1e-5 * np.abs(expected).max())


def _positions(context: list[int]) -> list[int]:
    positions, position = [], 0
    for token in context:
        positions.append(position)
        position = 0 if token == EOD else position + 1
    return positions
