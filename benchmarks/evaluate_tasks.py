"""How fast candidates are scored when what they share is computed once, beside scoring each one anew.

Questions have about the sizes of the paper's tasks in tokens of the released vocabulary (1.4 characters a token), and
random tokens. Three ways score the same candidates with the same network (4 layers, hidden size 256, 8,192 pieces,
1,024 positions, float32, all cores):

- shared: trees and remembered examples (`NetworkScorer`), which are computed anew in each round;
- anew: each candidate by itself, packed into full rows of 1,024 tokens, so that no place is wasted;
- padded: each candidate in a row of its own, filled up to 1,024, as the published evaluator does it.

Tokens a second count every token of every candidate, examples included, for all three. They take turns; the ratio is of
the medians. Scores must agree to 1e-4 nats a token.

    python benchmarks/evaluate_tasks.py
    python benchmarks/evaluate_tasks.py --rounds 5 --items 64
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

os.environ.setdefault("GLOG_v", "3")  # before MindSpore is imported

import numpy as np
from mindspore import Tensor, nn

from pangu_alpha.config import ModelConfig
from pangu_alpha.evaluation.tasks.catalogue import TASKS
from pangu_alpha.evaluation.tasks.network import NetworkScorer
from pangu_alpha.evaluation.tasks.task import Item
from pangu_alpha.evaluation.tasks.wording import Candidate, Question
from pangu_alpha.model import PanguAlpha, build_network
from pangu_alpha.model.loss import TokenLoss
from pangu_alpha.runtime.device import prepare_environment, set_device

WINDOW, VOCAB, BAR = 1024, 8192, 3.0
Way = Callable[[], list[float]]
Seconds = dict[str, float]


@dataclass(frozen=True)
class Shape:
    """Tokens of a task's questions."""

    name: str
    examples: int
    """Of all worked examples, alike for all questions."""
    shared: int
    """That the candidates of a question begin with."""
    own: int
    """That differ between candidates."""
    text: int
    """After those."""
    candidates: int
    whole: bool
    """Whether what is shared is scored, too."""


SHAPES = (
    Shape("tnews, few-shot", 6 * 35, 4, 2, 22, 4, False),
    Shape("iflytek, few-shot", 3 * 30, 4, 3, 200, 4, False),
    Shape("afqmc, few-shot", 4 * 30, 7, 1, 20, 2, False),
    Shape("ocnli, few-shot", 3 * 30, 15, 1, 10, 3, True),
    Shape("c3, few-shot", 3 * 130, 12, 6, 110, 4, False),
    Shape("chid, zero-shot", 0, 70, 4, 70, 10, True),
    Shape("chid, few-shot", 3 * 145, 70, 4, 70, 10, True),
    Shape("cmrc2019, few-shot", 2 * 300, 200, 12, 130, 10, False),
)


class NoText:
    """Stands for a tokenizer: ids in, ids out."""

    pad_id, eod_id, eot_id, vocab_size = 0, 1, 2, VOCAB
    special_ids = {"<pad>": 0, "<eod>": 1, "<eot>": 2}  # noqa: RUF012


class TokenLosses(nn.Cell):
    """The loss of every token, by the plain network."""

    def __init__(self, network: PanguAlpha) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.token_loss = TokenLoss(VOCAB, VOCAB)

    def construct(
        self, input_ids: Tensor, position_ids: Tensor, document_ids: Tensor, labels: Tensor, sample_keys: Tensor
    ) -> Tensor:
        logits = self.network(input_ids, position_ids, document_ids, sample_keys)
        return self.token_loss.losses(self.token_loss.cast(logits, self.token_loss.no_word.dtype), labels)


def questions_of(shape: Shape, number: int) -> list[Question]:
    generator = np.random.default_rng(1)
    draw: Callable[[int], tuple[int, ...]] = lambda size: tuple(generator.integers(3, VOCAB, size).tolist())  # noqa: E731
    examples, questions = draw(shape.examples), []
    for item in range(number):
        shared, text = draw(shape.shared), draw(shape.text)
        start = shape.examples + (0 if shape.whole else shape.shared + shape.own)
        candidates = [
            Candidate((*examples, *shared, *draw(shape.own), *text), start, "", "") for _ in range(shape.candidates)
        ]
        questions.append(Question(TASKS["chid"], Item(str(item), {}), tuple(candidates), 0, None))
    return questions


def shared(scorer: NetworkScorer, questions: Sequence[Question]) -> list[float]:
    """Mean nats of each candidate, in trees."""
    scorer.forget()
    return [score.mean for scores in scorer.score(questions) for score in scores]


def anew(losses: TokenLosses, questions: Sequence[Question], one_a_row: bool) -> list[float]:
    """Mean nats of each candidate, each computed by itself."""
    rows: list[list[Candidate]] = []
    for candidate in (candidate for question in questions for candidate in question.candidates):
        if one_a_row or not rows or sum(len(one.ids) + 1 for one in rows[-1]) + len(candidate.ids) >= WINDOW:
            rows.append([])
        rows[-1].append(candidate)
    return [mean for row in rows for mean in score_row(losses, row)]


def score_row(losses: TokenLosses, row: Sequence[Candidate]) -> list[float]:
    ids, positions, documents, labels = (np.zeros(WINDOW, np.int32) for _ in range(4))
    place, places = 0, []
    for number, candidate in enumerate(row):
        length = len(candidate.ids)
        ids[place], ids[place + 1 : place + length] = NoText.eod_id, candidate.ids[:-1]
        labels[place : place + length] = candidate.ids
        positions[place + 1 : place + length] = np.arange(length - 1)
        documents[place], documents[place + 1 : place + length] = 2 * number + 1, 2 * number + 2
        places.append(slice(place + candidate.start, place + length))
        place += length
    batch = [Tensor(one[None]) for one in (ids, positions, documents)]
    found = losses(*batch, Tensor(labels[:, None]), Tensor(np.zeros(1, np.int32))).asnumpy()[:, 0]
    return [float(found[one].mean()) for one in places]


def measure(ways: dict[str, Way], rounds: int) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Seconds of each way, the median of the rounds, and its scores. What is compiled is compiled before."""
    scores: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    ways["shared"]()
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            scores[name] = way()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in seconds.items()}, scores


def compare(scorer: NetworkScorer, losses: TokenLosses, shape: Shape, items: int, rounds: int) -> tuple[int, Seconds]:
    """Tokens of the candidates and seconds of each way, after a check that the scores agree."""
    asked = questions_of(shape, items)
    few = asked[: max(1, len(asked) // 8)]  # a way so slow is timed on a part
    ways: dict[str, Way] = {
        "shared": lambda: shared(scorer, asked),
        "anew": lambda: anew(losses, asked, one_a_row=False),
        "padded": lambda: anew(losses, few, one_a_row=True),
    }
    seconds, scores = measure(ways, rounds)
    apart = float(np.abs(np.subtract(scores["shared"], scores["anew"])).max())
    if apart > 1e-4:
        raise SystemExit(f"{shape.name}: the scores differ by {apart:.2g} nats a token")
    seconds["padded"] *= len(asked) / len(few)
    return sum(len(one.ids) for question in asked for one in question.candidates), seconds


def show(name: str, tokens: int, seconds: Seconds) -> None:
    speeds = " ".join(f"{tokens / taken:9,.0f}" for taken in seconds.values())
    ratios = f"{seconds['anew'] / seconds['shared']:.1f}, {seconds['padded'] / seconds['shared']:.1f}"
    print(f"{name:20} {tokens:9,} {speeds}   {ratios}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=32, help="questions of each kind")
    arguments = parser.parse_args()
    prepare_environment(verbose=False)
    set_device("cpu")
    config = ModelConfig(
        num_layers=4,
        hidden_size=256,
        num_heads=4,
        vocab_size=VOCAB,
        seq_length=WINDOW,
        final_norm="before_query_layer",
        compute_dtype="float32",
    )
    network = build_network(config, seed=1).set_train(False)
    scorer = NetworkScorer(network, config, NoText(), {})  # type: ignore[arg-type]
    losses = TokenLosses(network).set_train(False)
    score_row(losses, questions_of(SHAPES[0], 1)[0].candidates)  # compiles
    num_tokens, total = 0, dict.fromkeys(("shared", "anew", "padded"), 0.0)
    print(f"{'':20} {'tokens':>9} {'shared':>9} {'anew':>9} {'padded':>9}   tokens/s; shared ÷ anew, ÷ padded")
    for shape in SHAPES:
        tokens, seconds = compare(scorer, losses, shape, arguments.items, arguments.rounds)
        show(shape.name, tokens, seconds)
        num_tokens += tokens
        total = {name: total[name] + taken for name, taken in seconds.items()}
    show("all", num_tokens, total)
    ratio = total["anew"] / total["shared"]
    print(f"shared ÷ anew {ratio:.2f}, and the bar is {BAR}: {'reached' if ratio >= BAR else 'MISSED'}")


if __name__ == "__main__":
    main()
