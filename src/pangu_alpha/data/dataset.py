"""Training and validation data: batches as a pure function of the step.

A source with T tokens has N = ⌈(T - 1)/S⌉ samples; sample j is the window of S + 1 tokens from j·S on. So each token
but the first is a label exactly once; the last window is filled with padding. Sample number n of a training run is the
k-th sample of source s (`order.Blend`): its window π(k mod N) with the permutation π of (seed, s, ⌊k/N⌋).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.config import DATA_MIXES, DataConfig, RunConfig, SourceConfig
from pangu_alpha.data.batch import Batch, make_batch
from pangu_alpha.data.order import Blend, keys, permute
from pangu_alpha.data.token_file import TokenFile, open_token_file
from pangu_alpha.errors import ConfigError, DataError

ALL_ROWS = slice(None)

_ORDER_BLOCK = 1 << 12
"""Samples whose order is computed at once: small enough for any step to come first, large enough to cost nothing."""


class TrainingData:
    """The endless, shuffled blend of token files. All sources were packed with the same tokenizer."""

    def __init__(
        self, sources: Sequence[TokenFile], weights: Sequence[float], *, seq_length: int, batch_size: int, seed: int
    ) -> None:
        """Blend `sources` by `weights` (any positive scale) into batches of `batch_size` samples of `seq_length`.

        Raises:
            DataError: the weights have too many digits, see `order.Blend`.
        """
        self.sources, self.seq_length, self.batch_size, self.seed = tuple(sources), seq_length, batch_size, seed
        self.blend = Blend(weights)
        self.num_samples = tuple(count_samples(source, seq_length) for source in sources)
        """Samples of one epoch, by source."""
        self._order = lru_cache(maxsize=4)(self._order_block)

    @property
    def tokenizer_fingerprint(self) -> str:
        """Fingerprint of the tokenizer that all sources were packed with."""
        return self.sources[0].info.tokenizer_fingerprint

    @property
    def fingerprint(self) -> str:
        """Changes with everything that decides which sample has which number: contents, weights, length and seed."""
        parts = [[source.info.bin_sha256 for source in self.sources], self.blend.weights, self.seq_length, self.seed]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def batch(self, step: int, rows: slice = ALL_ROWS) -> Batch:
        """Rows of the batch of `step` (from 0); only the rows asked for are read.

        `batch(step, rows)` equals the same rows of `batch(step)`, so ranks and micro-batches ask for their parts.
        """
        return self.samples(step * self.batch_size + np.arange(self.batch_size)[rows])

    def samples(self, numbers: NDArray[np.int64]) -> Batch:
        """The samples with these global numbers, in this order.

        A run that goes on with another batch size counts from the samples it has consumed.
        """
        first = self.sources[0].info
        return make_batch(
            self.windows(numbers), _sample_keys(self.seed, numbers), eod_id=first.eod_id, pad_id=first.pad_id
        )

    def windows(self, numbers: NDArray[np.int64]) -> NDArray[np.int32]:
        """[len(numbers), seq_length + 1]: the ids of the samples with these global numbers."""
        result = np.empty((len(numbers), self.seq_length + 1), np.int32)
        blocks, places = np.divmod(numbers, _ORDER_BLOCK)
        for block in np.unique(blocks):
            rows = np.flatnonzero(blocks == block)
            sources, windows = self._order(int(block))
            for row, place in zip(rows.tolist(), places[rows].tolist(), strict=True):
                _read_window(self.sources[sources[place]], windows[place], self.seq_length, result[row])
        return result

    def _order_block(self, block: int) -> tuple[list[int], list[int]]:
        # Lists: indexing an array costs more than reading the window.
        sources, counts = self.blend.locate(block * _ORDER_BLOCK + np.arange(_ORDER_BLOCK))
        windows = np.empty(_ORDER_BLOCK, np.int64)
        for source, size in enumerate(self.num_samples):
            chosen = sources == source
            epochs, places = np.divmod(counts[chosen], size)
            windows[chosen] = permute(places, size, keys(self.seed, source, epochs))
        return sources.tolist(), windows.tolist()


class HeldOut(Protocol):
    """Batches to measure a network on, in an order, the same each time."""

    @property
    def batch_size(self) -> int:
        """Rows of a batch."""

    @property
    def num_batches(self) -> int:
        """Of all of it."""

    def batch(self, index: int, rows: slice = ALL_ROWS) -> Batch:
        """Rows of batch `index`, from 0 to `num_batches` - 1."""


class ValidationData:
    """Token files read in order, each sample once. The last batch is filled with rows of padding."""

    def __init__(self, sources: Sequence[TokenFile], *, seq_length: int, batch_size: int) -> None:
        """Read `sources` one after the other in batches of `batch_size` samples of `seq_length`."""
        self.sources, self.seq_length, self.batch_size = tuple(sources), seq_length, batch_size
        self._ends = np.cumsum([count_samples(source, seq_length) for source in sources])
        self.num_samples = int(self._ends[-1])
        self.num_batches = -(-self.num_samples // batch_size)

    def batch(self, index: int, rows: slice = ALL_ROWS) -> Batch:
        """Rows of batch `index`, from 0 to `num_batches` - 1."""
        numbers = index * self.batch_size + np.arange(self.batch_size)[rows]
        first = self.sources[0].info
        windows = np.full((len(numbers), self.seq_length + 1), first.pad_id, np.int32)
        for row, number in enumerate(numbers):
            if number < self.num_samples:
                source = int(np.searchsorted(self._ends, number, side="right"))
                before = int(self._ends[source - 1]) if source else 0
                _read_window(self.sources[source], int(number) - before, self.seq_length, windows[row])
        return make_batch(windows, _sample_keys(0, numbers), eod_id=first.eod_id, pad_id=first.pad_id)


def open_training_data(config: RunConfig, tokenizer_fingerprint: str | None = None) -> TrainingData:
    """Open and check everything that `config.data.train` names.

    Args:
        config: the run.
        tokenizer_fingerprint: when given, refuse files packed with another tokenizer.

    Raises:
        ConfigError: no source, or sources whose names are not those of `data.mix`.
        DataError: a file is damaged (see `open_token_file`), has a larger vocabulary than the network, or another
            tokenizer than the others.
    """
    sources = _open(config.data.train, "data.train", config.model.vocab_size, tokenizer_fingerprint)
    return TrainingData(
        sources,
        _weights(config.data),
        seq_length=config.model.seq_length,
        batch_size=config.train.batch_size,
        seed=config.train.seed,
    )


def open_validation_data(config: RunConfig, tokenizer_fingerprint: str | None = None) -> ValidationData:
    """Open and check everything that `config.data.validation` names; arguments and errors as `open_training_data`."""
    sources = _open(config.data.validation, "data.validation", config.model.vocab_size, tokenizer_fingerprint)
    return ValidationData(sources, seq_length=config.model.seq_length, batch_size=config.train.batch_size)


def count_samples(source: TokenFile, seq_length: int) -> int:
    """⌈(T - 1)/S⌉: the windows in which each token but the first is a label once."""
    return -(-(source.info.num_tokens - 1) // seq_length)


def _open(
    configs: Sequence[SourceConfig], key: str, vocab_size: int, tokenizer_fingerprint: str | None
) -> list[TokenFile]:
    _require_some(configs, key)
    sources = [open_token_file(config.path) for config in configs]
    expected = tokenizer_fingerprint or sources[0].info.tokenizer_fingerprint
    owner = "the run" if tokenizer_fingerprint else str(sources[0].prefix)
    for source in sources:
        info = source.info
        if info.vocab_size > vocab_size:
            raise DataError(
                f"{source.prefix}: its tokenizer has {info.vocab_size:,} ids, but model.vocab_size is {vocab_size:,}. "
                f"Set model.vocab_size to {info.vocab_size} or more, or pack the text with a smaller tokenizer"
            )
        if info.tokenizer_fingerprint != expected:
            raise DataError(
                f"{source.prefix}: packed with the tokenizer {info.tokenizer_fingerprint}, but {owner} uses "
                f"{expected}. Pack all text with the same tokenizer"
            )
    return sources


def check_training_sources(config: DataConfig) -> None:
    """Refuse training sources that the settings alone rule out; no file is opened.

    Raises:
        ConfigError: there are none, or they have not the names of the mix.
    """
    _require_some(config.train, "data.train")
    _weights(config)


def _require_some(configs: Sequence[SourceConfig], key: str) -> None:
    if not configs:
        raise ConfigError(
            f"{key} names no token file. Make one with `pangu data pack` and give its path as {key}[0].path"
        )


def _weights(config: DataConfig) -> list[float]:
    if config.mix is None:
        return [source.weight for source in config.train]
    mix = DATA_MIXES[config.mix]
    names = [source.name or "(no name)" for source in config.train]
    if sorted(names) != sorted(mix):
        raise ConfigError(
            f"data.mix={config.mix} needs one source for each of the names {', '.join(mix)}; "
            f"data.train has {', '.join(names)}. Set the names, or leave data.mix out and give weights"
        )
    return [mix[name] for name in names]


def _read_window(source: TokenFile, index: int, seq_length: int, row: NDArray[np.int32]) -> None:
    start = index * seq_length
    window = source.tokens[start : start + seq_length + 1]
    row[: len(window)] = window
    row[len(window) :] = source.info.pad_id


def _sample_keys(seed: int, numbers: NDArray[np.int64]) -> NDArray[np.int32]:
    return (keys(seed, numbers) >> np.uint64(33)).astype(np.int32)
