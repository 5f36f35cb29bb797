"""Continuing prompts: batches of them, of any lengths, token by token through the key/value cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.config import ModelConfig
from pangu_alpha.console import say
from pangu_alpha.errors import CheckpointError, ConfigError, DataError
from pangu_alpha.inference.cached import CachedNetwork
from pangu_alpha.inference.sampling import SamplingOptions, choose
from pangu_alpha.inference.streaming import TextStream
from pangu_alpha.model import PanguAlpha
from pangu_alpha.tokenizer import Tokenizer

CHUNK = 32
"""Prompt tokens computed at once; the prompt is filled up to a multiple of it."""

Reason = Literal["<eod>", "<eot>", "length"]
Prompt = str | Sequence[int]


@dataclass(frozen=True)
class Piece:
    """The next bit of one continuation."""

    prompt: int
    """Number of the prompt, from 0."""
    token: int
    text: str
    """The text that this token completes; empty while a character is incomplete, and for `<eod>` and `<eot>`."""
    finish: Reason | None
    """Why the continuation ends with this token, or None."""


@dataclass(frozen=True)
class Continuation:
    """A complete continuation."""

    tokens: tuple[int, ...]
    """Ids, the one that ended it included."""
    text: str
    finish: Reason
    """`length`: it has `max_new_tokens` tokens."""


@dataclass
class _Row:
    """One prompt on its way. Its window is what the cache holds of it."""

    prompt: int
    draw: int
    tokens: list[int]
    window: list[int]
    positions: list[int]
    stream: TextStream
    num_new: int = 0
    finish: Reason | None = None


class Generator:
    """Continues prompts with one network. Compiles on first use, for each number of rows anew."""

    def __init__(self, network: PanguAlpha, config: ModelConfig, tokenizer: Tokenizer, batch_size: int = 8) -> None:
        """Args:
        network: with its weights, on the device.
        config: of the network.
        tokenizer: the one it was trained with.
        batch_size: prompts computed together, at least 1.

        Raises:
            ConfigError: no row in a batch.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}, but it must be at least 1")
        self._network, self._config, self._tokenizer = network, config, tokenizer
        self._batch_size = batch_size
        self._sessions: dict[int, _Session] = {}
        self._stops: dict[int, Reason] = {tokenizer.eod_id: "<eod>", tokenizer.eot_id: "<eot>"}
        # The word table may have more rows than the tokenizer has ids.
        self._forbidden = np.arange(config.vocab_size) >= tokenizer.vocab_size
        self._forbidden[[id_ for id_ in tokenizer.special_ids.values() if id_ not in self._stops]] = True

    def generate(
        self, prompts: Sequence[Prompt], options: SamplingOptions, draws: Sequence[int] | None = None
    ) -> list[Continuation]:
        """The continuation of each prompt; arguments and errors as `stream`."""
        tokens: list[list[int]] = [[] for _ in prompts]
        texts: list[list[str]] = [[] for _ in prompts]
        reasons: list[Reason] = ["length" for _ in prompts]
        for piece in self.stream(prompts, options, draws):
            tokens[piece.prompt].append(piece.token)
            texts[piece.prompt].append(piece.text)
            reasons[piece.prompt] = piece.finish or "length"
        return [
            Continuation(tuple(ids), "".join(text), reason)
            for ids, text, reason in zip(tokens, texts, reasons, strict=True)
        ]

    def stream(
        self, prompts: Sequence[Prompt], options: SamplingOptions, draws: Sequence[int] | None = None
    ) -> Iterator[Piece]:
        """Continue `prompts`, yielding each token as soon as it is known, prompts of a batch in turn.

        Args:
            prompts: texts, or ids (where `<eod>` starts a new document). Only the newest `seq_length` tokens are used.
            options: how tokens are chosen and when to stop.
            draws: a number for each prompt, below 2⁶⁴, that its draws depend on; default: its place in `prompts`.

        Raises:
            DataError: a prompt without a token.
            TokenizerError: a prompt has an id that is not in the vocabulary, or holds no proper text.
            CheckpointError: the network gives numbers that are not finite.
        """
        encoded = [self._encode(number, prompt) for number, prompt in enumerate(prompts)]
        return self._run(encoded, options, range(len(prompts)) if draws is None else draws)

    def _run(self, encoded: list[list[int]], options: SamplingOptions, draws: Sequence[int]) -> Iterator[Piece]:
        num_rows = min(self._batch_size, len(encoded))
        for first in range(0, len(encoded), self._batch_size):
            batch = encoded[first : first + num_rows]
            rows = [self._begin(number, draws[number], tokens) for number, tokens in enumerate(batch, start=first)]
            yield from self._run_batch(rows, self._session(num_rows), options)

    def _run_batch(self, rows: list[_Row], session: _Session, options: SamplingOptions) -> Iterator[Piece]:
        logits = session.read([(row.window, row.positions) for row in rows])
        while True:
            for row, row_logits in zip(rows, logits, strict=False):
                if row.finish is None:
                    yield self._advance(row, row_logits, options)
            if all(row.finish is not None for row in rows):
                return
            if any(row.positions[-1] >= self._config.seq_length for row in rows):
                for row in rows:
                    self._slide(row)
                logits = session.read([(row.window, row.positions) for row in rows])
            else:
                logits = session.step([(row.window[-1], row.positions[-1]) for row in rows])

    def _advance(self, row: _Row, logits: NDArray[np.float32], options: SamplingOptions) -> Piece:
        if not np.isfinite(logits).all():
            raise CheckpointError(
                f"after token {len(row.tokens)} of prompt {row.prompt + 1} the network gives numbers that are not "
                f"finite: its training had diverged, or its weights are too large for {self._config.compute_dtype}. "
                "Use an earlier checkpoint"
            )
        token = choose(logits, row.tokens, self._forbidden, options, row.draw, row.num_new)
        row.num_new += 1
        row.positions.append(0 if row.window[-1] == self._tokenizer.eod_id else row.positions[-1] + 1)
        row.tokens.append(token)
        row.window.append(token)
        row.finish = self._stops.get(token) or ("length" if row.num_new == options.max_new_tokens else None)
        text = row.stream.add(token)
        if row.finish is not None:
            text += row.stream.finish()
            # The row goes through the network with the others to the end; at position 0 it never fills up.
            row.positions[-1] = 0
        return Piece(row.prompt, token, text, row.finish)

    def _slide(self, row: _Row) -> None:
        """Make room: keep the newest half of a full window. The other rows keep theirs, to be read again with it."""
        length = self._config.seq_length
        num_kept = length // 2 if row.positions[-1] >= length else length
        if row.finish is not None:
            num_kept = 1
        row.window = row.window[-num_kept:]
        row.positions = self._positions(row.window)

    def _begin(self, number: int, draw: int, tokens: list[int]) -> _Row:
        window = tokens[-self._config.seq_length :]
        if len(window) < len(tokens):
            say(
                f"prompt {number + 1} has {len(tokens):,} tokens, but the network sees {len(window):,}: "
                f"the first {len(tokens) - len(window):,} are left out"
            )
        return _Row(number, draw, list(window), window, self._positions(window), TextStream(self._tokenizer))

    def _positions(self, window: list[int]) -> list[int]:
        positions, position = [], 0
        for token in window:
            positions.append(position)
            position = 0 if token == self._tokenizer.eod_id else position + 1
        return positions

    def _encode(self, number: int, prompt: Prompt) -> list[int]:
        if isinstance(prompt, str):
            tokens = self._tokenizer.encode(prompt)
        else:
            tokens = list(prompt)
            for token in tokens:
                self._tokenizer.piece(token)  # raises for an unknown id
        if not tokens:
            raise DataError(f"prompt {number + 1} is empty: give at least one character to continue")
        return tokens

    def _session(self, num_rows: int) -> _Session:
        if num_rows not in self._sessions:
            self._sessions[num_rows] = _Session(self._network, self._config, num_rows)
        return self._sessions[num_rows]


class _Session:
    """The compiled network for a number of rows, and where its ring of slots is."""

    def __init__(self, network: PanguAlpha, config: ModelConfig, num_rows: int) -> None:
        self._cached = CachedNetwork(network, config, num_rows)
        self._num_rows, self._num_slots = num_rows, config.seq_length
        self._chunk = min(CHUNK, config.seq_length)
        self._next_slot = 0
        # Compile the graph of a single token now, or the text would halt after its first token.
        self.step([(0, 0)] * num_rows)

    def read(self, rows: Sequence[tuple[list[int], list[int]]]) -> NDArray[np.float32]:
        """Begin anew with these (tokens, positions): logits [rows, V] after the last token of each."""
        num_chunks = -(-max(len(window) for window, _ in rows) // self._chunk)
        ids = np.zeros((self._num_rows, num_chunks * self._chunk), np.int32)
        positions = np.zeros_like(ids)
        for row, (window, places) in enumerate(rows):
            ids[row, -len(window) :] = window
            positions[row, -len(window) :] = places
        self._next_slot = 0
        for start in range(0, ids.shape[1], self._chunk):
            part = slice(start, start + self._chunk)
            logits = self._compute(np.ascontiguousarray(ids[:, part]), np.ascontiguousarray(positions[:, part]))
        return logits

    def step(self, rows: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
        """Go on with one (token, position) for each row: logits [rows, V]."""
        ids = np.zeros((self._num_rows, 1), np.int32)
        positions = np.zeros_like(ids)
        ids[: len(rows), 0], positions[: len(rows), 0] = zip(*rows, strict=True)
        return self._compute(ids, positions)

    def _compute(self, ids: NDArray[np.int32], positions: NDArray[np.int32]) -> NDArray[np.float32]:
        slots = (self._next_slot + np.arange(ids.shape[1], dtype=np.int32)) % self._num_slots
        self._next_slot = int(slots[-1] + 1) % self._num_slots
        return self._cached(ids, positions, slots.astype(np.int32))
