"""Answers of a network that the ranks of a job share. They know one thing together, the mean loss of a batch.

So each candidate is a batch: the loss of its scored tokens times their number is what it costs. Rank 0 has the
questions and tells the others each batch; they need no data set. A batch holds one candidate whatever its size, so a
mesh without data parallelism wastes least.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pangu_alpha.config import RunConfig
from pangu_alpha.data import ALL_ROWS, Batch, HeldOut
from pangu_alpha.errors import ConfigError
from pangu_alpha.evaluation.finite import require_finite
from pangu_alpha.evaluation.tasks.scorer import Score
from pangu_alpha.evaluation.tasks.wording import Question
from pangu_alpha.evaluation.windows import Window, pack_windows
from pangu_alpha.tokenizer import Tokenizer
from pangu_alpha.training.workers import Workers

_END = "end"


class OneCandidate:
    """Held-out data of one batch, in which one text is scored from a token on. See `HeldOut`."""

    num_batches = 1

    def __init__(self, config: RunConfig, eod_id: int) -> None:
        """Batches of the shape that the programs of `config` were made for; nothing is scored until `put`."""
        self.batch_size, self._length, self._eod_id = config.train.batch_size, config.model.seq_length, eod_id
        self._batch: Batch

    def put(self, ids: Sequence[int], start: int) -> None:
        """Score the tokens `ids[start:]`, the first of all tokens from a lone `<eod>`."""
        window = Window([self._eod_id, *ids[:-1]], ids, start)
        (self._batch,) = pack_windows([window], self._length, self.batch_size, self._eod_id)

    def batch(self, index: int, rows: slice = ALL_ROWS) -> Batch:
        """See `HeldOut`."""
        return self._batch if rows == ALL_ROWS else self._batch.rows(rows.start, rows.stop)


class RankScorer:
    """A `Scorer` on rank 0 of a job, while it is `asking`, and what the other ranks do meanwhile."""

    def __init__(
        self,
        config: RunConfig,
        tokenizer: Tokenizer,
        mean_loss: Callable[[HeldOut], float],
        workers: Workers,
        facts: dict[str, object],
    ) -> None:
        """Args:
        config: of the programs.
        tokenizer: the one that the network was trained with.
        mean_loss: of a token, in nats; all ranks must ask.
        workers: the ranks of the job.
        facts: what tells the network from others.
        """
        self.tokenizer, self.window = tokenizer, config.model.seq_length
        self._candidate = OneCandidate(config, tokenizer.eod_id)
        self._mean_loss, self._workers, self._facts = mean_loss, workers, facts

    def describe(self) -> dict[str, object]:
        """See `Scorer`."""
        return self._facts

    def score(self, questions: Sequence[Question]) -> list[list[Score]]:
        """See `Scorer`. Which token would have been the likeliest is not known.

        Raises:
            CheckpointError: the network gives numbers that are not finite.
            TrainingError: a rank has ended.
        """
        return [[self._score(one.ids, one.start) for one in question.candidates] for question in questions]

    def generate(self, questions: Sequence[Question], seed: int) -> list[str]:
        """Refuse: the ranks' programs write no text."""
        raise ConfigError(
            f"{questions[0].task.name} is answered in free text, which a network that ranks share does not write: "
            "leave the task out, or measure the checkpoint in one process"
        )

    def _score(self, ids: Sequence[int], start: int) -> Score:
        self._tell(json.dumps([list(ids), start]))
        self._candidate.put(ids, start)
        loss = self._mean_loss(self._candidate)
        require_finite(loss, "a question")
        num_tokens = len(ids) - start
        return Score(loss * num_tokens, num_tokens, None)

    @contextmanager
    def asking(self, is_main: bool) -> Iterator[bool]:
        """Inside, rank 0 asks and gets True; the others come here with False, when it has no more questions."""
        if not is_main:
            self._follow()
            yield False
            return
        try:
            yield True
        finally:
            self._tell(_END)

    def _follow(self) -> None:
        while (order := self._tell("")) != _END:
            self._candidate.put(*json.loads(order))
            self._mean_loss(self._candidate)

    def _tell(self, order: str) -> str:
        """What rank 0 says."""
        return self._workers.decide(order, lambda orders: orders[0])
