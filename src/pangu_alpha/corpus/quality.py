"""The quality loop of paper §3.1.3: one network trained on each of two corpora, compared on text of quality.

The networks see the same number of tokens, of one tokenizer, and are scored in the same batches, so that their
difference is one of pairs: what is easy for both counts for neither.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pangu_alpha.errors import DataError

RESAMPLES = 10_000
Parts = Sequence[tuple[float, int]]
"""Nats and tokens of each batch."""


@dataclass(frozen=True)
class Comparison:
    """Two networks on the same text."""

    first: float
    """Perplexity of a token."""
    second: float
    """The same."""
    ratio: float
    """Second ÷ first: below 1 the second is better."""
    low: float
    """Of an interval that holds the ratio with a probability of 95 %, over texts like these."""
    high: float

    @property
    def verdict(self) -> str:
        """Which is better, if that is beyond doubt."""
        if self.low <= 1 <= self.high:
            return "no difference that this text could show"
        return "the second is better" if self.high < 1 else "the first is better"


def compare(first: Parts, second: Parts, seed: int = 0) -> Comparison:
    """Compare what two networks pay for the same batches, with an interval of the paired bootstrap (Efron, 1979).

    Raises:
        DataError: they were not scored in the same batches.
    """
    tokens = np.array([count for _, count in first], float)
    if [count for _, count in second] != [count for _, count in first]:
        raise DataError("the networks were not scored on the same text in the same batches: score both again")
    nats = np.array([[value for value, _ in first], [value for value, _ in second]])
    draws = np.random.default_rng(seed).integers(0, len(tokens), (RESAMPLES, len(tokens)))
    differences = (nats[1] - nats[0])[draws].sum(1) / tokens[draws].sum(1)
    low, high = np.quantile(differences, (0.025, 0.975))
    losses = nats.sum(1) / tokens.sum()
    return Comparison(
        math.exp(losses[0]), math.exp(losses[1]), math.exp(losses[1] - losses[0]), math.exp(low), math.exp(high)
    )
