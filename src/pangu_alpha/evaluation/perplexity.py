"""Perplexity and bits per character of a network on held-out text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pangu_alpha.config import ModelConfig, perplexity
from pangu_alpha.console import progress
from pangu_alpha.errors import CheckpointError, ConfigError, DataError
from pangu_alpha.evaluation.windows import pack_windows, sliding_windows
from pangu_alpha.model import PanguAlpha, PanguAlphaLoss, batch_tensors
from pangu_alpha.tokenizer import Tokenizer


@dataclass(frozen=True)
class Perplexity:
    """What a network pays for a text. The end of each document is predicted and paid for, but is no character."""

    nats: float
    """-ln of the probability of everything."""
    num_tokens: int
    """Scored tokens, the `<eod>` of each document included."""
    num_characters: int
    """Characters (code points) of the text."""
    num_documents: int
    parts: tuple[tuple[float, int], ...] = ()
    """Nats and scored tokens of each batch: two networks with one tokenizer are scored in the same batches."""

    @property
    def loss(self) -> float:
        """Mean nats of a token."""
        return self.nats / self.num_tokens

    @property
    def perplexity(self) -> float:
        """Of a token: depends on the tokenizer."""
        return perplexity(self.loss)

    @property
    def bits_per_character(self) -> float:
        """Comparable between tokenizers and with models of characters."""
        return self.nats / math.log(2) / self.num_characters


def measure_perplexity(
    network: PanguAlpha,
    config: ModelConfig,
    tokenizer: Tokenizer,
    documents: Iterable[str],
    *,
    stride: int,
    batch_size: int,
) -> Perplexity:
    """Score every token of `documents` once, with a sliding window of `seq_length` (see `sliding_windows`).

    Args:
        network: with its weights, not in training mode.
        config: of the network.
        tokenizer: the one it was trained with.
        documents: their tokens are all kept in memory.
        stride: labels that a window adds, from 1 to `seq_length`. Smaller: more context, and more windows.
        batch_size: rows computed at once, at least 1.

    Raises:
        ConfigError: a stride or batch size out of range.
        DataError: there is no text.
        CheckpointError: the loss is not finite.
    """
    if not 1 <= stride <= config.seq_length:
        raise ConfigError(f"the stride is {stride}, but it must be from 1 to the window of {config.seq_length} tokens")
    if batch_size < 1:
        raise ConfigError(f"the batch size is {batch_size}, but it must be at least 1")
    texts, num_characters = _encode(documents, tokenizer)
    windows = (
        window for tokens in texts for window in sliding_windows(tokens, tokenizer.eod_id, config.seq_length, stride)
    )
    loss = PanguAlphaLoss(network).set_train(False)
    num_tokens = sum(map(len, texts))
    nats, parts = 0.0, []
    with progress("scoring", num_tokens, "tokens") as advance:
        for batch in pack_windows(windows, config.seq_length, batch_size, tokenizer.eod_id):
            parts.append((float(loss(*batch_tensors(batch))), int(batch.loss_mask.sum())))
            nats += parts[-1][0]
            if not math.isfinite(nats):
                raise CheckpointError(
                    "the network's loss on this text is not finite: its training had diverged, or its weights are too "
                    f"large for {config.compute_dtype}. Use an earlier checkpoint"
                )
            advance(parts[-1][1])
    return Perplexity(nats, num_tokens, num_characters, len(texts), tuple(parts))


def _encode(documents: Iterable[str], tokenizer: Tokenizer) -> tuple[list[list[int]], int]:
    """The tokens of each document that has any, its end included, and the characters of all of them."""
    texts: list[list[int]] = []
    num_characters = 0
    for text in documents:
        if tokens := tokenizer.encode(text):
            texts.append([*tokens, tokenizer.eod_id])
            num_characters += len(text)
    if not texts:
        raise DataError("the input holds no text: give at least one document with a character")
    return texts, num_characters
