"""The quality loop of paper §3.1.3: one network trained on each of two corpora, compared on text of quality.

The networks see the same number of tokens, of one tokenizer, and are scored in the same batches, so that their
difference is one of pairs: what is easy for both counts for neither.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.errors import DataError

RESAMPLES = 10_000
Parts = Sequence[tuple[float, int]]
"""Nats and tokens of each batch."""


@dataclass(frozen=True)
class Comparison:
    """Two recipes' networks on the same text, trained with one seed or several."""

    first: float
    """Perplexity of a token; of several seeds their geometric mean."""
    second: float
    """The same."""
    ratio: float
    """Second ÷ first: below 1 the second is better."""
    low: float
    """Of an interval that holds the ratio with a probability of 95 %, over texts like these and, from two seeds on,
    over seeds."""
    high: float
    ratios: tuple[float, ...]
    """Of each seed."""

    @property
    def verdict(self) -> str:
        """Which is better, if that is beyond doubt."""
        if self.low <= 1 <= self.high:
            return "no difference that this text could show"
        return "the second is better" if self.high < 1 else "the first is better"

    @property
    def seeds_disagree(self) -> bool:
        """Whether the first is better with one seed and the second with another."""
        return min(self.ratios) < 1 < max(self.ratios)


def compare(first: Sequence[Parts], second: Sequence[Parts], seed: int = 0) -> Comparison:
    """Compare what two recipes' networks pay for the same batches, with an interval.

    Of one seed it is that of the paired bootstrap over batches (Efron, 1979). Of several it is Student's, of a variance
    that is the sum of two: the seeds' ratios', and the bootstrap's (degrees of freedom by Welch and Satterthwaite).

    Args:
        first: of the first recipe's network of each seed.
        second: the same of the second's.
        seed: of the bootstrap's draws.

    Raises:
        DataError: they were not scored in the same batches, or in one alone.
    """
    tokens = np.array([count for _, count in first[0]], float)
    for parts in (*first, *second):
        if [count for _, count in parts] != tokens.tolist():
            raise DataError("the networks were not scored on the same text in the same batches: score both again")
    if len(tokens) < 2:
        raise DataError(f"the text of quality fills one batch ({tokens[0]:.0f} tokens): no interval follows; give more")
    nats = np.array([[[value for value, _ in parts] for parts in some] for some in (first, second)])
    losses = nats.sum(2) / tokens.sum()
    each = losses[1] - losses[0]
    draws = np.random.default_rng(seed).integers(0, len(tokens), (RESAMPLES, len(tokens)))
    resampled = (nats[1] - nats[0]).mean(0)[draws].sum(1) / tokens[draws].sum(1)
    if len(each) == 1:
        low, high = np.quantile(resampled, (0.025, 0.975))
    else:
        low, high = _interval(each, float(resampled.var(ddof=1)), len(tokens))
    own, other = map(float, losses.mean(1))
    ratio, least, most = math.exp(other - own), math.exp(low), math.exp(high)
    return Comparison(math.exp(own), math.exp(other), ratio, least, most, tuple(np.exp(each).tolist()))


def _interval(each: NDArray[np.float64], of_texts: float, num_texts: int) -> tuple[float, float]:
    """Around the mean of `each` seed's, with the variance `of_texts` that the mean has as another text is drawn."""
    from scipy import stats

    of_seeds = float(each.var(ddof=1)) / len(each)
    total = of_seeds + of_texts
    freedom = total**2 / (of_seeds**2 / (len(each) - 1) + of_texts**2 / (num_texts - 1)) if total else 1.0
    half = float(stats.t.ppf(0.975, freedom)) * math.sqrt(total)
    return float(each.mean()) - half, float(each.mean()) + half
