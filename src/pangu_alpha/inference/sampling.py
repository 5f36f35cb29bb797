"""Choosing the next token from logits. All on the host, in numpy, one row at a time.

The order is that of common practice: repetition penalty, temperature, top-k, top-p, draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pangu_alpha.errors import ConfigError


@dataclass(frozen=True)
class SamplingOptions:
    """How a continuation is drawn. The default is plain sampling from the network's distribution.

    Raises:
        ConfigError: a value outside its range.
    """

    max_new_tokens: int = 100
    """A continuation is at most this long; at least 1."""
    temperature: float = 1.0
    """Logits are divided by it; 0 means greedy: always the likeliest token."""
    top_k: int = 0
    """Draw from this many likeliest tokens only; 0 means all."""
    top_p: float = 1.0
    """Draw from the fewest likeliest tokens whose probabilities add up to at least this."""
    repetition_penalty: float = 1.0
    """Logits of the context's tokens are divided by it, or multiplied where negative (CTRL, arXiv 1909.05858 §4.1)."""
    seed: int = 0
    """The draw of a token depends on this, the prompt's number and the token's number in its continuation only."""

    def __post_init__(self) -> None:
        ranges = (
            ("max_new_tokens", self.max_new_tokens >= 1, "at least 1"),
            ("temperature", 0.0 <= self.temperature < np.inf, "0 (greedy) or more"),
            ("top_k", self.top_k >= 0, "0 (all tokens) or more"),
            ("top_p", 0.0 < self.top_p <= 1.0, "above 0 and at most 1"),
            ("repetition_penalty", 0.0 < self.repetition_penalty < np.inf, "above 0 (1 changes nothing)"),
            ("seed", 0 <= self.seed < 2**64, "from 0 to 2⁶⁴ - 1"),
        )
        for name, is_valid, allowed in ranges:
            if not is_valid:
                raise ConfigError(f"{name} is {getattr(self, name)}, but it must be {allowed}")


def choose(
    logits: NDArray[np.float32],
    context: Sequence[int],
    forbidden: NDArray[np.bool_],
    options: SamplingOptions,
    prompt: int,
    step: int,
) -> int:
    """The next token of one row.

    Args:
        logits: [V].
        context: the tokens so far, prompt included.
        forbidden: [V], tokens that are never chosen.
        options: how to choose.
        prompt: number of the prompt.
        step: number of the token in its continuation, from 0.
    """
    logits = np.where(forbidden, -np.inf, logits)
    if options.repetition_penalty != 1.0:
        penalise_repetition(logits, context, options.repetition_penalty)
    if options.temperature == 0.0:
        return int(logits.argmax())
    ids, probabilities = candidates(logits, options)
    cumulative = np.cumsum(probabilities)
    # Rounding can leave the last sum a little below 1, or the draw at the very end: clip to the last candidate.
    place = np.searchsorted(cumulative, uniform(options.seed, prompt, step) * cumulative[-1], side="right")
    return int(ids[min(int(place), len(ids) - 1)])


def penalise_repetition(logits: NDArray[np.float32], context: Sequence[int], penalty: float) -> None:
    """Lower the logits [V] of the tokens in `context`, in place."""
    seen = np.unique(np.asarray(context, np.int64))
    logits[seen] = np.where(logits[seen] > 0, logits[seen] / penalty, logits[seen] * penalty)


def candidates(logits: NDArray[np.float32], options: SamplingOptions) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Tokens that may be drawn, likeliest first, and their probabilities: of all tokens, after the temperature."""
    allowed = np.flatnonzero(np.isfinite(logits))
    if 0 < options.top_k < len(allowed):
        allowed = allowed[np.argpartition(-logits[allowed], options.top_k - 1)[: options.top_k]]
    ids = allowed[np.argsort(-logits[allowed], kind="stable")]
    # The largest is subtracted first, so that a temperature near 0 cannot overflow.
    weights = np.exp((logits[ids].astype(np.float64) - float(logits[ids[0]])) / options.temperature)
    probabilities = weights / weights.sum()
    if options.top_p < 1.0:
        num_kept = int(np.searchsorted(np.cumsum(probabilities), options.top_p)) + 1
        ids, probabilities = ids[:num_kept], probabilities[:num_kept]
    return ids, probabilities


def uniform(seed: int, prompt: int, step: int) -> float:
    """A number in [0, 1), a function of its arguments only."""
    return float(np.random.Generator(np.random.Philox(key=(prompt << 64) | seed, counter=step << 64)).random())
