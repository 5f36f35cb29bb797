"""Answers of this project's network. The one file of this room that imports MindSpore."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from numpy.typing import NDArray

from pangu_alpha.config import ModelConfig
from pangu_alpha.evaluation.finite import require_finite
from pangu_alpha.evaluation.tasks.scorer import Score
from pangu_alpha.evaluation.tasks.tree import Tree
from pangu_alpha.evaluation.tasks.wording import Candidate, Question, common_length
from pangu_alpha.inference import Generator, SamplingOptions
from pangu_alpha.model import PanguAlpha
from pangu_alpha.model.attention import MASKED
from pangu_alpha.model.dtypes import compute_dtype
from pangu_alpha.model.layer import Layer, QueryLayer
from pangu_alpha.model.loss import TokenLoss
from pangu_alpha.tokenizer import Tokenizer

ROW_TOKENS = 512
"""Tokens computed at once: enough to keep a processor busy, and few enough that the mask of a tree stays small."""
LONG_ROW_TOKENS = 1024
"""The same for a question whose candidates have much in common and do not fit into such a row together."""
LEAST_REMEMBERED = 32
"""Tokens that questions must have in common before their keys and values are kept."""
_BUCKETS = (128, 512, 1024, 2048, 4096, 8192)
"""Lengths that graphs are compiled for; what is shorter is filled up. Few: compiling one takes seconds."""


class TreeLayer(nn.Cell):
    """One layer of the network, for tokens that see others by a given mask, and what is remembered."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(auto_prefix=False)
        self.layer = layer
        self.takes_positions = isinstance(layer, QueryLayer)
        self.join_keys = ops.Concat(2)
        self.join_values = ops.Concat(2)

    def construct(
        self, hidden: Tensor, position_ids: Tensor, mask: Tensor, keys: Tensor, values: Tensor, sample_keys: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """[T, d], int32 [1, T], float32 [1, 1, T, P + T], twice [1, heads, P, head size] → hidden, new keys, values."""
        attention = self.layer.attention
        normed = self.layer.attention_norm(hidden)
        query = attention.heads(
            attention.query(self.layer.queries(position_ids) if self.takes_positions else normed), 1
        )
        new_keys = attention.heads(attention.key(normed), 1)
        new_values = attention.heads(attention.value(normed), 1)
        attended = attention.attend(
            query, self.join_keys((keys, new_keys)), self.join_values((values, new_values)), mask, sample_keys
        )
        return self.layer.finish(hidden, attended, sample_keys), new_keys, new_values


class TreeNetwork(nn.Cell):
    """`PanguAlpha` without its head, for one row of a tree's tokens."""

    def __init__(self, network: PanguAlpha) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.norm_first = network.norm_first
        self.layers = nn.CellList([TreeLayer(layer) for layer in network.layers], auto_prefix=False)
        self.query_layer = TreeLayer(network.query_layer)
        self.sample_keys = Tensor(np.zeros(1, np.int32))
        self.stack_keys = ops.Stack()
        self.stack_values = ops.Stack()

    def construct(
        self, input_ids: Tensor, position_ids: Tensor, mask: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """All layers.

        Args:
            input_ids, position_ids: int32 [1, T].
            mask: float32 [1, 1, T, P + T], added to the scores.
            keys, values: [layers, 1, heads, P, head size], what is remembered.

        Returns:
            [T, d], and the new keys and values, [layers, 1, heads, T, head size].
        """
        network = self.network
        hidden = network.embedding(input_ids, position_ids, self.sample_keys)
        all_keys: tuple[Tensor, ...] = ()
        all_values: tuple[Tensor, ...] = ()
        for number, layer in enumerate(self.layers):
            hidden, new_keys, new_values = layer(
                hidden, position_ids, mask, keys[number], values[number], self.sample_keys
            )
            all_keys, all_values = (*all_keys, new_keys), (*all_values, new_values)
        if self.norm_first:
            hidden = network.final_norm(hidden)
        hidden, new_keys, new_values = self.query_layer(
            hidden, position_ids, mask, keys[-1], values[-1], self.sample_keys
        )
        if not self.norm_first:
            hidden = network.final_norm(hidden)
        return hidden, self.stack_keys((*all_keys, new_keys)), self.stack_values((*all_values, new_values))


class TreePrices(nn.Cell):
    """What some tokens of a tree cost, and which ones would have been the likeliest."""

    def __init__(self, network: PanguAlpha) -> None:
        super().__init__(auto_prefix=False)
        self.tree = TreeNetwork(network)
        self.network = network
        self.token_loss = TokenLoss(network.vocab_size, network.embedding.word.table.shape[0])
        self.pick = ops.Gather()
        self.cast = ops.Cast()
        self.argmax = ops.Argmax(output_type=ms.int32)

    def construct(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        mask: Tensor,
        keys: Tensor,
        values: Tensor,
        rows: Tensor,
        labels: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """As `TreeNetwork`, int32 [R], [R, 1]: which tokens predict what → float32 [R, 1] nats, int32 [R] likeliest."""
        hidden, _, _ = self.tree(input_ids, position_ids, mask, keys, values)
        logits = self.network.head(self.pick(hidden, rows, 0), self.network.embedding.word.table)
        logits = self.cast(logits, ms.float32)
        if self.token_loss.is_padded:
            logits = self.token_loss.exclude(logits, self.token_loss.no_word)
        return self.token_loss.losses(logits, labels), self.argmax(logits)


@dataclass(frozen=True)
class Memory:
    """Keys and values of tokens that many questions begin with. `tokens` has one more: the root of their trees."""

    tokens: tuple[int, ...]
    keys: Tensor
    values: Tensor

    @property
    def num_slots(self) -> int:
        """Tokens that there is room for; those after the remembered ones are never seen."""
        return int(self.keys.shape[3])


class NetworkScorer:
    """A `Scorer` of a network with its weights. Compiles on first use, for each bucket of lengths anew."""

    def __init__(
        self,
        network: PanguAlpha,
        config: ModelConfig,
        tokenizer: Tokenizer,
        facts: dict[str, object],
        batch_size: int = 8,
    ) -> None:
        """Args:
        network: with its weights, not in training mode.
        config: of the network.
        tokenizer: the one it was trained with.
        facts: what tells it from other networks.
        batch_size: continuations generated together, at least 1.
        """
        self.tokenizer, self.window = tokenizer, config.seq_length
        self.row_tokens = ROW_TOKENS
        self._network, self._config, self._facts = network, config, facts
        self._prices, self._tree = TreePrices(network), TreeNetwork(network)
        self._generator = Generator(network, config, tokenizer, batch_size)
        empty = Tensor(np.zeros((config.num_layers, 1, config.num_heads, 1, config.head_size)), compute_dtype(config))
        self._nothing = Memory((), empty, empty)
        self._memory = self._nothing

    def describe(self) -> dict[str, object]:
        """See `Scorer`."""
        return self._facts

    def forget(self) -> None:
        """Let go of what questions began with; the next ones compute it anew."""
        self._memory = self._nothing

    @contextmanager
    def asking(self, is_main: bool) -> Iterator[bool]:
        """Inside, a network that is being trained answers. Gives `is_main`: whether this process is the one to ask."""
        self.forget()  # its weights are others now
        self._network.set_train(False)
        try:
            yield is_main
        finally:
            self._network.set_train()

    def score(self, questions: Sequence[Question]) -> list[list[Score]]:
        """See `Scorer`; errors as `score_candidates`."""
        return self.score_candidates([question.candidates for question in questions])

    def score_candidates(self, questions: Sequence[Sequence[Candidate]]) -> list[list[Score]]:
        """A score for each candidate of each question.

        Raises:
            CheckpointError: the network gives numbers that are not finite.
        """
        memory = self._remember([candidate for candidates in questions for candidate in candidates])
        scores: list[list[Score]] = [[] for _ in questions]
        for tree, owners in self._pack(questions, memory):
            for owner, score in zip(owners, self._compute(tree, memory), strict=True):
                scores[owner].append(score)
        return scores

    def generate(self, questions: Sequence[Question], seed: int) -> list[str]:
        """See `Scorer`. All questions are of one task."""
        task = questions[0].task
        options = SamplingOptions(
            max_new_tokens=task.max_new_tokens,
            temperature=task.temperature,
            top_k=task.top_k,
            top_p=task.top_p,
            seed=seed,
        )
        # A draw depends on the question itself, so that it is the same in any company.
        numbers = [zlib.crc32(question.item.id.encode()) for question in questions]
        return self.continue_prompts([question.candidates[0].ids for question in questions], options, numbers)

    def continue_prompts(
        self, prompts: Sequence[Sequence[int]], options: SamplingOptions, draws: Sequence[int]
    ) -> list[str]:
        """What follows each prompt; `draws` as in `Generator.stream`."""
        return [found.text for found in self._generator.generate(prompts, options, draws)]

    def _pack(self, questions: Sequence[Sequence[Candidate]], memory: Memory) -> Iterator[tuple[Tree, list[int]]]:
        """Trees that fit a row, and which question each of their candidates belongs to."""
        tree, owners = self._new_tree(memory), list[int]()
        for number, candidates in enumerate(questions):
            # The candidates of a question stay together where a row can hold them.
            whole = self._new_tree(memory).num_new(candidates)
            parts = [candidates] if whole < self.row_tokens else self._split(candidates, memory)
            for part in parts:
                if owners and len(tree.tokens) + tree.num_new(part) > self.row_tokens:
                    yield tree, owners
                    tree, owners = self._new_tree(memory), []
                for candidate in part:
                    tree.add(candidate)
                    owners.append(number)
        if owners:
            yield tree, owners

    def _split(self, candidates: Sequence[Candidate], memory: Memory) -> list[list[Candidate]]:
        """The candidates of a question in parts, each as many as a long row can hold."""
        parts: list[list[Candidate]] = []
        for candidate in candidates:
            if parts and self._new_tree(memory).num_new([*parts[-1], candidate]) < LONG_ROW_TOKENS:
                parts[-1].append(candidate)
            else:
                parts.append([candidate])
        return parts

    def _new_tree(self, memory: Memory) -> Tree:
        root = memory.tokens[-1] if memory.tokens else self.tokenizer.eod_id
        return Tree(root, len(memory.tokens))

    def _remember(self, candidates: Sequence[Candidate]) -> Memory:
        """Keys and values of what all begin with and none is scored on; those of the last call, where they serve."""
        shared = candidates[0].ids
        for candidate in candidates:
            shared = shared[: min(common_length(shared, candidate.ids), candidate.start)]
        known = self._memory.tokens
        if known and shared[: len(known)] == known:
            return self._memory
        if len(shared) < LEAST_REMEMBERED:
            return self._nothing
        num_slots = _bucket(len(shared))
        ids = np.zeros((1, num_slots), np.int32)
        ids[0, : len(shared)] = shared
        seen = np.tri(num_slots, dtype=np.bool_)
        _, keys, values = self._tree(
            Tensor(ids), Tensor(np.arange(num_slots, dtype=np.int32)[None] % self.window), _mask(seen, 0, 1),
            self._nothing.keys, self._nothing.values,
        )  # fmt: skip
        self._memory = Memory(shared, keys, values)
        return self._memory

    def _compute(self, tree: Tree, memory: Memory) -> list[Score]:
        scored = tree.scored()
        num_tokens, num_rows = _bucket(len(tree.tokens)), _bucket(len(scored))
        ids, positions = np.zeros((1, num_tokens), np.int32), np.zeros((1, num_tokens), np.int32)
        ids[0, : len(tree.tokens)] = tree.tokens
        # A last token that predicts nothing may stand behind the window (`loglikelihood_rolling` of the harness).
        positions[0, : len(tree.tokens)] = np.clip(tree.depths, 0, self.window - 1)
        rows, labels = np.zeros(num_rows, np.int32), np.zeros((num_rows, 1), np.int32)
        rows[: len(scored)] = [tree.parents[node] for node in scored]
        labels[: len(scored), 0] = [tree.tokens[node] for node in scored]
        seen = np.eye(num_tokens, dtype=np.bool_)
        seen[: len(tree.tokens), : len(tree.tokens)] = tree.visible(bool(memory.tokens))
        num_remembered = max(len(memory.tokens) - 1, 0)
        mask = _mask(seen, num_remembered, memory.num_slots)
        nats, likeliest = self._prices(
            Tensor(ids), Tensor(positions), mask, memory.keys, memory.values, Tensor(rows), Tensor(labels)
        )
        prices = dict(zip(scored, nats.asnumpy()[:, 0].tolist(), strict=False))
        hits = dict(zip(scored, (likeliest.asnumpy() == labels[:, 0]).tolist(), strict=False))
        return [self._sum(path, prices, hits) for path in tree.paths]

    def _sum(self, path: Sequence[int], prices: dict[int, float], hits: dict[int, bool]) -> Score:
        total = math.fsum(prices[node] for node in path)
        require_finite(total, "a question")
        return Score(total, len(path), all(hits[node] for node in path))


def _bucket(number: int) -> int:
    return next((size for size in _BUCKETS if size >= number), number)


def _mask(seen: NDArray[np.bool_], num_remembered: int, num_slots: int) -> Tensor:
    """[T, T] → float32 [1, 1, T, slots + T], where everything that was remembered is seen."""
    remembered = np.broadcast_to(np.arange(num_slots) < num_remembered, (len(seen), num_slots))
    both = np.concatenate([remembered, seen], axis=1)
    return Tensor(np.where(both, np.float32(0), np.float32(MASKED))[None, None])
