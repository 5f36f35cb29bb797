from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from mindspore import Tensor

from pangu_alpha.config import ModelConfig
from pangu_alpha.errors import CheckpointError, ConfigError, DataError
from pangu_alpha.evaluation.perplexity import PackedTexts, Perplexity, measure_perplexity
from pangu_alpha.model import PanguAlpha, build_network
from pangu_alpha.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from pangu_alpha.training.validation import LossEvaluator

LENGTH = 32


@pytest.fixture(scope="module")
def scorer(lu_xun: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[PanguAlpha, ModelConfig, Tokenizer]:
    path: Path = tmp_path_factory.mktemp("perplexity") / "tok"
    train_tokenizer(lu_xun, path, 450)
    tokenizer = load_tokenizer(path)
    config = ModelConfig(
        num_layers=2,
        hidden_size=16,
        num_heads=2,
        vocab_size=tokenizer.vocab_size,
        seq_length=LENGTH,
        final_norm="after_query_layer",
        dropout=0.1,
        compute_dtype="float32",
    )
    network = build_network(config, 1).set_train(False)
    generator = np.random.default_rng(3)
    for item in network.get_parameters():
        noise = generator.normal(0, 0.2, item.shape).astype(np.float32)
        item.set_data(Tensor(item.asnumpy() + noise))
    return network, config, tokenizer


def measured(
    scorer: tuple[PanguAlpha, ModelConfig, Tokenizer], documents: list[str], stride: int, batch_size: int
) -> Perplexity:
    network, config, tokenizer = scorer
    texts = PackedTexts(documents, tokenizer, seq_length=config.seq_length, stride=stride, batch_size=batch_size)
    evaluator = LossEvaluator(network)
    result = measure_perplexity(texts, evaluator.mean_loss)
    assert sum(nats for nats, _ in evaluator.parts) == pytest.approx(result.nats)
    assert sum(count for _, count in evaluator.parts) == result.num_tokens
    return result


def one_by_one(scorer: tuple[PanguAlpha, ModelConfig, Tokenizer], documents: list[str], stride: int) -> float:
    """Nats, each token predicted alone from its own context, in float64."""
    network, _, tokenizer = scorer
    network.set_train(False)
    nats = 0.0
    for text in documents:
        tokens = [*tokenizer.encode(text), tokenizer.eod_id]
        stream = [tokenizer.eod_id, *tokens]
        for place, token in enumerate(tokens):
            step = max(0, math.ceil((place + 1 - LENGTH) / stride))
            context = stream[step * stride : place + 1]
            is_start = step == 0
            ids, positions, documents_of = np.zeros((3, 1, LENGTH), np.int32)
            ids[0, : len(context)] = context
            positions[0, : len(context)] = np.maximum(np.arange(len(context)) - is_start, 0)
            documents_of[0] = 1
            documents_of[0, 0] = 0 if is_start else 1
            arguments = (ids, positions, documents_of, np.zeros(1, np.int32))
            logits = network(*map(Tensor, arguments)).asnumpy()[len(context) - 1].astype(np.float64)
            nats += float(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[token])
    return nats


@pytest.mark.parametrize("stride", [LENGTH, 10])
def test_every_token_counts_once_whatever_the_packing(
    scorer: tuple[PanguAlpha, ModelConfig, Tokenizer], lu_xun: list[str], stride: int
) -> None:
    documents = ["阿！", lu_xun[1], "故乡好得多了。", lu_xun[0][:80]]
    result = measured(scorer, documents, stride=stride, batch_size=3)
    tokenizer = scorer[2]
    assert result.num_tokens == sum(len(tokenizer.encode(text)) + 1 for text in documents)
    assert result.num_characters == sum(map(len, documents))
    assert result.num_documents == 4
    assert result.nats == pytest.approx(one_by_one(scorer, documents, stride), rel=1e-5)
    assert result.loss == pytest.approx(result.nats / result.num_tokens)
    assert result.perplexity == pytest.approx(math.exp(result.loss))
    assert result.bits_per_character == pytest.approx(result.nats / math.log(2) / result.num_characters)
    turned = measured(scorer, documents[::-1], stride=stride, batch_size=3)
    assert turned.nats == pytest.approx(result.nats, rel=1e-6)


def test_wrong_arguments_are_refused(scorer: tuple[PanguAlpha, ModelConfig, Tokenizer], lu_xun: list[str]) -> None:
    for stride in (0, LENGTH + 1):
        with pytest.raises(ConfigError, match=f"stride is {stride}, .* window of {LENGTH}"):
            measured(scorer, lu_xun, stride=stride, batch_size=1)
    with pytest.raises(ConfigError, match="batch size is 0"):
        measured(scorer, lu_xun, stride=8, batch_size=0)
    with pytest.raises(DataError, match="no text"):
        measured(scorer, ["", ""], stride=8, batch_size=1)


def test_weights_that_give_no_finite_loss_are_named(
    scorer: tuple[PanguAlpha, ModelConfig, Tokenizer], lu_xun: list[str]
) -> None:
    table = next(iter(scorer[0].get_parameters()))
    before = table.asnumpy().copy()
    table.set_data(Tensor(np.full_like(before, 3e38)))
    try:
        with pytest.raises(CheckpointError, match=r"not finite: its training had diverged.*compute_dtype"):
            measured(scorer, lu_xun, stride=8, batch_size=1)
    finally:
        table.set_data(Tensor(before))
