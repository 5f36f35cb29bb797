"""Perplexity and bits per character of a network on held-out text. No MindSpore here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pangu_alpha.config import perplexity
from pangu_alpha.console import progress
from pangu_alpha.data import ALL_ROWS, Batch, HeldOut
from pangu_alpha.errors import ConfigError, DataError
from pangu_alpha.evaluation.finite import require_finite
from pangu_alpha.evaluation.windows import pack_windows, sliding_windows
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


class PackedTexts:
    """Documents as batches in which every token is scored once, with a sliding window (see `sliding_windows`)."""

    def __init__(
        self, documents: Iterable[str], tokenizer: Tokenizer, *, seq_length: int, stride: int | None, batch_size: int
    ) -> None:
        """Encode and pack.

        Args:
            documents: their tokens are all kept in memory.
            tokenizer: the one that the network was trained with.
            seq_length: of the network, the length of the window.
            stride: labels that a window adds, from 1 to `seq_length`. Smaller: more context, and more windows. None:
                half of the window.
            batch_size: rows computed at once, at least 1.

        Raises:
            ConfigError: a stride or batch size out of range.
            DataError: there is no text.
        """
        self.stride = max(seq_length // 2, 1) if stride is None else stride
        if not 1 <= self.stride <= seq_length:
            raise ConfigError(f"the stride is {stride}, but it must be from 1 to the window of {seq_length} tokens")
        if batch_size < 1:
            raise ConfigError(f"the batch size is {batch_size}, but it must be at least 1")
        texts, self.num_characters = _encode(documents, tokenizer)
        eod_id = tokenizer.eod_id
        windows = (window for tokens in texts for window in sliding_windows(tokens, eod_id, seq_length, self.stride))
        self._batches = list(pack_windows(windows, seq_length, batch_size, eod_id))
        self.batch_size, self.num_batches = batch_size, len(self._batches)
        self.num_tokens, self.num_documents = sum(map(len, texts)), len(texts)
        self.on_batch: Callable[[float], None] = lambda num_tokens: None
        """Told of the scored tokens of each batch that is read."""

    def batch(self, index: int, rows: slice = ALL_ROWS) -> Batch:
        """See `HeldOut`."""
        batch = self._batches[index]
        self.on_batch(float(batch.loss_mask.sum()))
        return batch if rows == ALL_ROWS else batch.rows(rows.start, rows.stop)


def measure_perplexity(texts: PackedTexts, mean_loss: Callable[[HeldOut], float]) -> Perplexity:
    """Score every token of `texts` once.

    Args:
        texts: what is measured.
        mean_loss: goes through held-out data and gives the mean nats of a token.

    Raises:
        CheckpointError: the loss is not finite.
    """
    with progress("scoring", texts.num_tokens, "tokens") as advance:
        texts.on_batch = advance
        loss = mean_loss(texts)
    require_finite(loss, "this text")
    return Perplexity(loss * texts.num_tokens, texts.num_tokens, texts.num_characters, texts.num_documents)


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
