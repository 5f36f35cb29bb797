from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from mindspore import Tensor
from tests.evaluation.tasks import independent
from tests.evaluation.tasks.independent import FREE, INDEPENDENT, WholeNetwork

from pangu_alpha.config import ModelConfig
from pangu_alpha.errors import CheckpointError
from pangu_alpha.evaluation.tasks.catalogue import TASKS
from pangu_alpha.evaluation.tasks.measure import make_plans, run_plan
from pangu_alpha.evaluation.tasks.network import ROW_TOKENS, NetworkScorer
from pangu_alpha.evaluation.tasks.scorer import Score
from pangu_alpha.evaluation.tasks.wording import Question, ask
from pangu_alpha.model import PanguAlpha
from pangu_alpha.tokenizer import Tokenizer

WINDOW = 160


@pytest.fixture(scope="module")
def config(pieces: Tokenizer) -> ModelConfig:
    return ModelConfig(
        num_layers=3,
        hidden_size=32,
        num_heads=4,
        vocab_size=pieces.vocab_size,
        seq_length=WINDOW,
        final_norm="before_query_layer",
        compute_dtype="float32",
    )


def network_of(config: ModelConfig) -> PanguAlpha:
    network = PanguAlpha(config).set_train(False)
    generator = np.random.default_rng(20210426)
    for item in network.get_parameters():
        mean = float(item.name.endswith("gamma"))
        item.set_data(Tensor(generator.normal(mean, 0.25, item.shape).astype(np.float32)))
    return network


@pytest.fixture(scope="module")
def network(config: ModelConfig) -> PanguAlpha:
    return network_of(config)


@pytest.fixture(scope="module")
def scorer(network: PanguAlpha, config: ModelConfig, pieces: Tokenizer) -> NetworkScorer:
    return NetworkScorer(network, config, pieces, {"name": "random", "parameters": 1})


def questions_of(name: str, shots: str, data_sets: Path, tokenizer: Tokenizer) -> list[Question]:
    (plan,) = make_plans(TASKS[name], data_sets, [shots], 1, 1, None)  # type: ignore[list-item]
    examples = plan.examples.get("", [])
    return [ask(plan.task, item, examples, tokenizer, WINDOW) for item in plan.items]


def assert_same(found: Sequence[Sequence[Score]], wanted: Sequence[Sequence[Score]]) -> None:
    for some, others in zip(found, wanted, strict=True):
        for one, other in zip(some, others, strict=True):
            assert one.nats == pytest.approx(other.nats, abs=1e-4)
            assert (one.num_tokens, one.is_greedy) == (other.num_tokens, other.is_greedy)


@pytest.mark.parametrize("name", INDEPENDENT)
def test_a_scorer_written_from_the_paper_agrees(
    name: str, scorer: NetworkScorer, network: PanguAlpha, config: ModelConfig, pieces: Tokenizer, data_sets: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    for shots in ("0", "1"):
        (plan,) = make_plans(TASKS[name], data_sets, [shots], 1, 1, None)  # type: ignore[list-item]
        run_plan(plan, scorer, tmp_path)
        lines = (tmp_path / "answers" / plan.file).read_text(encoding="utf-8").splitlines()
        header, *records = map(json.loads, lines)
        whole = WholeNetwork(network, config, pieces)
        examples = "".join(header["examples"][""]) if shots == "1" else ""
        asked = list(INDEPENDENT[name](data_sets, records))
        assert len(asked) == len(records)
        for record, (texts, truth) in zip(records, asked, strict=True):
            prices = [whole.price(examples + given, scored) for given, scored in texts]
            means = [nats / number for nats, number in prices]
            assert record["mean"] == pytest.approx(means, abs=1e-4)
            assert record["answer"] == truth
            assert record["prediction"]["mean"] == int(np.argmin(means))
            assert record["prediction"]["sum"] == int(np.argmin([nats for nats, _ in prices]))
            assert record["metrics"]["mean"] == float(np.argmin(means) == truth)


def test_it_agrees_on_the_missing_word(
    scorer: NetworkScorer, network: PanguAlpha, config: ModelConfig, pieces: Tokenizer, data_sets: Path, tmp_path: Path
) -> None:
    (plan,) = make_plans(TASKS["wplc"], data_sets, ["0"], 1, 1, None)
    run_plan(plan, scorer, tmp_path)
    _, *records = map(json.loads, (tmp_path / "answers" / plan.file).read_text(encoding="utf-8").splitlines())
    whole = WholeNetwork(network, config, pieces)
    for record, (left, word) in zip(records, independent.words_of(data_sets), strict=True):
        nats, number = whole.price(left, word)
        assert (record["nats"], record["tokens"]) == ([pytest.approx(nats, abs=1e-3)], [number])


@pytest.mark.parametrize("name", FREE)
def test_it_agrees_on_free_answers(
    name: str, scorer: NetworkScorer, network: PanguAlpha, config: ModelConfig, pieces: Tokenizer, data_sets: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    """The prompt, the right answers, what an answer is worth, and where nothing is drawn the continuation itself."""
    (plan,) = make_plans(TASKS[name], data_sets, ["0"], 1, 1, None)
    run_plan(plan, scorer, tmp_path)
    _, *records = map(json.loads, (tmp_path / "answers" / plan.file).read_text(encoding="utf-8").splitlines())
    whole = WholeNetwork(network, config, pieces)
    for record, (prompt, truths) in zip(records, FREE[name](data_sets), strict=True):
        ((asked, _),) = record["prompts"]
        assert asked == prompt
        assert record["references"] == list(dict.fromkeys(truths)) or record["references"] == truths
        answer, worth = record["continuation"].split("\n")[0], record["metrics"]
        if "em" in worth:
            assert worth["em"] == max(independent.exact(answer, truth) for truth in truths)
            assert worth["f1"] == pytest.approx(max(independent.f1(answer, truth) for truth in truths))
        elif "rouge_1" in worth:
            assert worth["rouge_1"] == pytest.approx(max(independent.rouge_1(answer, truth) for truth in truths))
        if plan.task.temperature == 0:
            assert record["continuation"] == whole.likeliest(prompt, plan.task.max_new_tokens)


def test_what_is_shared_changes_no_score(config: ModelConfig, pieces: Tokenizer, data_sets: Path) -> None:
    config = config.model_copy(update={"final_norm": "after_query_layer"})
    network = network_of(config)
    scorer = NetworkScorer(network, config, pieces, {})
    whole = WholeNetwork(network, config, pieces)
    for name, shots in (("afqmc", "few"), ("wplc", "0"), ("cmrc2019", "0")):
        questions = questions_of(name, shots, data_sets, pieces)[:4]
        for question, scores in zip(questions, scorer.score(questions), strict=True):
            for candidate, score in zip(question.candidates, scores, strict=True):
                table = whole.log_probabilities(candidate.ids)[candidate.start :]
                tokens = candidate.ids[candidate.start :]
                nats = -sum(float(row[token]) for row, token in zip(table, tokens, strict=True))
                assert score.nats == pytest.approx(nats, abs=1e-4)
                assert score.is_greedy == all(row.argmax() == token for row, token in zip(table, tokens, strict=True))


@pytest.mark.parametrize(("name", "shots"), [("tnews", "few"), ("chid", "0")])
def test_company_order_and_rows_change_no_score(
    name: str, shots: str, scorer: NetworkScorer, data_sets: Path, pieces: Tokenizer
) -> None:
    questions = questions_of(name, shots, data_sets, pieces)
    wanted = scorer.score(questions)
    assert_same([scorer.score([question])[0] for question in questions], wanted)
    order = list(range(len(questions)))
    random.Random(3).shuffle(order)
    shuffled = scorer.score([questions[place] for place in order])
    assert_same([shuffled[order.index(place)] for place in range(len(questions))], wanted)
    try:
        scorer.row_tokens = 40
        assert_same(scorer.score(questions), wanted)
    finally:
        scorer.row_tokens = ROW_TOKENS


def test_company_changes_no_continuation(
    scorer: NetworkScorer, network: PanguAlpha, config: ModelConfig, data_sets: Path, pieces: Tokenizer
) -> None:
    questions = questions_of("webqa", "0", data_sets, pieces)
    wanted = scorer.generate(questions, 7)
    assert len(set(wanted)) > 1
    in_pairs = NetworkScorer(network, config, pieces, {}, batch_size=2)
    assert in_pairs.generate(questions[::-1], 7)[::-1] == wanted
    assert in_pairs.generate(questions[2:], 7) == wanted[2:]
    assert scorer.generate(questions, 8) != wanted


def test_what_questions_begin_with_is_computed_once(scorer: NetworkScorer, data_sets: Path, pieces: Tokenizer) -> None:
    questions = questions_of("afqmc", "few", data_sets, pieces)
    scorer.score(questions[:4])
    remembered = scorer._memory
    assert len(remembered.tokens) > 32
    scorer.score(questions[4:])
    assert scorer._memory is remembered


def test_weights_that_give_no_number_are_an_error(
    scorer: NetworkScorer, network: PanguAlpha, config: ModelConfig, pieces: Tokenizer, data_sets: Path
) -> None:
    gamma = network.final_norm.gamma
    before = gamma.asnumpy()
    gamma.set_data(Tensor(np.full(config.hidden_size, np.nan, np.float32)))
    try:
        with pytest.raises(CheckpointError, match="loss on a question is not finite"):
            scorer.score(questions_of("csl", "0", data_sets, pieces))
    finally:
        gamma.set_data(Tensor(before))
