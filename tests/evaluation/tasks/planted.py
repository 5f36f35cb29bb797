"""Models whose answers are known, and so their scores."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

from pangu_alpha.evaluation.tasks.scorer import Score
from pangu_alpha.evaluation.tasks.wording import Question
from pangu_alpha.tokenizer import Tokenizer

Choose = Callable[[Question], int]
Say = Callable[[Question], str]


class Planted:
    """Finds the candidate that `choose` names the cheapest, and says what `say` says."""

    window = 4096

    def __init__(self, name: str, tokenizer: Tokenizer, choose: Choose, say: Say) -> None:
        self.name, self.tokenizer, self._choose, self._say = name, tokenizer, choose, say
        self.num_asked = 0

    def describe(self) -> dict[str, object]:
        return {"name": self.name, "parameters": 1}

    def score(self, questions: Sequence[Question]) -> list[list[Score]]:
        self.num_asked += len(questions)
        found = []
        for question in questions:
            chosen = self._choose(question)
            lengths = [len(one.ids) - one.start for one in question.candidates]
            # Cheaper in both scorings: 1 nat a token against 100.
            nats = [(1.0 if place == chosen else 100.0) * length for place, length in enumerate(lengths)]
            found.append([Score(cost, length, cost == length) for cost, length in zip(nats, lengths, strict=True)])
        return found

    def generate(self, questions: Sequence[Question], seed: int) -> list[str]:
        self.num_asked += len(questions)
        return [self._say(question) for question in questions]


def always_true(tokenizer: Tokenizer) -> Planted:
    return Planted(
        "true",
        tokenizer,
        lambda question: question.item.answer,
        lambda question: question.item.references[-1] + "\n问：",
    )


def always_first(tokenizer: Tokenizer) -> Planted:
    return Planted("first", tokenizer, lambda question: 0, lambda question: "")


def at_random(tokenizer: Tokenizer) -> Planted:
    return Planted(
        "random", tokenizer, random_choice, lambda question: random.Random(question.item.id).choice("天地玄黄")
    )


def random_choice(question: Question) -> int:
    return random.Random(question.item.id).randrange(len(question.item.choices) or 1)


def majority(tokenizer: Tokenizer, questions: Sequence[Question]) -> Planted:
    """Knows which truth is there most often: the word where all items have the same ones or draw from the same."""
    items = [question.item for question in questions]
    if questions[0].task.method == "generation":
        word = Counter(reference for item in items for reference in item.references).most_common(1)[0][0]
        return Planted("majority", tokenizer, lambda question: 0, lambda question: word)
    if questions[0].task.num_choices:
        words = Counter(item.truth for item in items)
        return Planted(
            "majority", tokenizer, lambda one: _best([words[word] for word in one.item.choices]), lambda one: ""
        )
    places = Counter(item.answer for item in items)
    return Planted(
        "majority",
        tokenizer,
        lambda one: _best([places[place] for place in range(len(one.item.choices))]),
        lambda one: "",
    )


def _best(counts: Sequence[int]) -> int:
    return max(range(len(counts)), key=counts.__getitem__)
