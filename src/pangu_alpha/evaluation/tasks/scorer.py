"""What answers questions: this project's network, another engine, or in tests a model whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pangu_alpha.checkpoint import Checkpoint
from pangu_alpha.config import ModelConfig
from pangu_alpha.evaluation.tasks.wording import Question
from pangu_alpha.tokenizer import Tokenizer

Facts = dict[str, object]


@dataclass(frozen=True)
class Score:
    """What a network pays for the scored tokens of a candidate."""

    nats: float
    """Sum of -ln p."""
    num_tokens: int
    is_greedy: bool | None
    """Whether each of them was the likeliest one; None where the scorer does not know."""

    @property
    def mean(self) -> float:
        """Nats of a token: the logarithm of what the paper calls the perplexity of a candidate."""
        return self.nats / self.num_tokens


def network_facts(checkpoint: Checkpoint, parameters: int, tokenizer: Tokenizer, config: ModelConfig) -> Facts:
    """What tells a trained network from other scorers, whoever computes it."""
    return {
        "name": str(checkpoint.path),
        "step": checkpoint.step,
        "checkpoint": checkpoint.index.checksum,
        "parameters": parameters,
        "tokenizer": tokenizer.fingerprint,
        "window": config.seq_length,
    }


class Scorer(Protocol):
    """Answers questions. What it says of one must not depend on which others it gets with it."""

    @property
    def tokenizer(self) -> Tokenizer:
        """What the questions are put into tokens with."""

    @property
    def window(self) -> int:
        """Tokens that it sees at once."""

    def describe(self) -> Facts:
        """What tells it from other scorers, as JSON has it; `name` and, for a network, `parameters` are among it."""

    def score(self, questions: Sequence[Question]) -> list[list[Score]]:
        """A score for each candidate of each question."""

    def generate(self, questions: Sequence[Question], seed: int) -> list[str]:
        """A continuation of each question's one candidate, as its task wants it decoded."""
