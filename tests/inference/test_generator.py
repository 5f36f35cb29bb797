from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mindspore import Tensor

from pangu_alpha.errors import CheckpointError, ConfigError, DataError
from pangu_alpha.inference import Generator, SamplingOptions

EOD, EOT = 2, 3
PROMPTS = ["话说天下大势", "分", "周末七国分争"]
GREEDY = SamplingOptions(max_new_tokens=12, temperature=0.0)


@pytest.fixture(scope="module")
def parts(
    inference_config: Callable[..., Any], inference_network: Callable[..., Any], inference_tokenizer: Any
) -> tuple[Any, Any, Any]:
    config = inference_config()
    return inference_network(config), config, inference_tokenizer


@pytest.fixture(scope="module")
def generator(parts: tuple[Any, Any, Any]) -> Generator:
    """Given three prompts everywhere, so that it compiles once."""
    return Generator(*parts, batch_size=3)


def reference(
    parts: tuple[Any, Any, Any], recompute: Callable[..., np.ndarray], context: list[int], n: int
) -> list[int]:
    """Greedy continuation without a cache; beyond the context, the newest half goes on."""
    network, config, tokenizer = parts
    allowed = np.arange(config.vocab_size) < tokenizer.vocab_size
    allowed[[0, 1]] = False
    window, new = context[-config.seq_length :], []
    for _ in range(n):
        if len(window) > config.seq_length:
            window = window[-(config.seq_length // 2) :]
        logits = recompute(network, config, window, EOD)
        new.append(int(np.where(allowed, logits, -np.inf).argmax()))
        if new[-1] in (EOD, EOT):
            break
        window = [*window, new[-1]]
    return new


def test_greedy_equals_recomputation(generator: Generator, parts: Any, recompute: Any) -> None:
    for prompt, result in zip(PROMPTS, generator.generate(PROMPTS, GREEDY), strict=True):
        assert list(result.tokens) == reference(parts, recompute, parts[2].encode(prompt), 12)


def test_text_goes_on_beyond_the_context(generator: Generator, parts: Any, recompute: Any) -> None:
    options = SamplingOptions(max_new_tokens=90, temperature=0.0)
    contexts = [parts[2].encode(prompt) for prompt in ("话说天下大势，分久必", "分久", "汉朝")]
    expected = [reference(parts, recompute, context, 90) for context in contexts]
    assert max(map(len, expected)) == 90, "the network stops early: choose other prompts"
    assert [list(result.tokens) for result in generator.generate(contexts, options)] == expected


def test_a_prompt_longer_than_the_context_keeps_its_end(
    generator: Generator, parts: Any, recompute: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = parts[2].encode("话说天下大势，分久必合，合久必分。")
    result = generator.generate([prompt, *PROMPTS[:2]], GREEDY)[0]
    assert list(result.tokens) == reference(parts, recompute, prompt, 12)
    assert f"prompt 1 has {len(prompt)} tokens, but the network sees 40" in capsys.readouterr().err


def test_documents_before_the_last_are_not_seen(generator: Generator, parts: Any) -> None:
    document = parts[2].encode("分久必合")
    other = parts[2].encode("周末")
    options = SamplingOptions(max_new_tokens=8, temperature=0.0)
    two, three = [*other, EOD, *document], [*document, EOD, *other, EOD, *document]
    alone, after_one, after_two = generator.generate([document, two, three], options)
    assert alone.tokens == after_one.tokens == after_two.tokens


def test_a_prompt_that_ends_a_document_asks_for_a_new_one(generator: Generator, parts: Any, recompute: Any) -> None:
    prompts = [[*parts[2].encode(text), EOD] for text in ("周末", "分久必合", "秦")]
    options = SamplingOptions(max_new_tokens=8, temperature=0.0)
    for prompt, result in zip(prompts, generator.generate(prompts, options), strict=True):
        assert list(result.tokens) == reference(parts, recompute, prompt, 8)


def test_sampling_does_not_depend_on_the_batch(generator: Generator, parts: Any) -> None:
    options = SamplingOptions(max_new_tokens=15, top_k=50, seed=5)
    together = generator.generate(PROMPTS, options)
    assert Generator(*parts, batch_size=2).generate(PROMPTS, options) == together
    assert generator.generate(PROMPTS, SamplingOptions(15, top_k=50, seed=6)) != together


def test_stops_at_the_end_tokens_and_never_draws_the_other_special_ones(generator: Generator) -> None:
    options = SamplingOptions(max_new_tokens=60, temperature=30.0)  # nearly uniform over 258 ids
    results = generator.generate(PROMPTS * 11, options)
    drawn = [token for result in results for token in result.tokens]
    assert not {0, 1, 260, 261, 262, 263} & set(drawn)
    assert {result.finish for result in results} == {"<eod>", "<eot>", "length"}
    for result in results:
        ends = {EOD: "<eod>", EOT: "<eot>"}
        assert result.finish == ends.get(result.tokens[-1], "length")
        assert not {EOD, EOT} & set(result.tokens[:-1])
        assert (len(result.tokens) == 60) or result.finish != "length"


def test_the_stream_is_the_result_bit_by_bit(generator: Generator, parts: Any) -> None:
    options = SamplingOptions(max_new_tokens=20, temperature=3.0, seed=1)
    pieces = list(generator.stream(PROMPTS, options))
    for number, result in enumerate(generator.generate(PROMPTS, options)):
        own = [piece for piece in pieces if piece.prompt == number]
        assert tuple(piece.token for piece in own) == result.tokens
        assert "".join(piece.text for piece in own) == result.text == parts[2].decode(result.tokens)
        assert [piece.finish for piece in own] == [None] * (len(own) - 1) + [result.finish]


def test_an_empty_prompt_and_an_empty_batch_are_refused(generator: Generator, parts: Any) -> None:
    with pytest.raises(DataError, match="prompt 2 is empty"):
        generator.generate(["分", ""], GREEDY)
    with pytest.raises(ConfigError, match="batch_size is 0"):
        Generator(*parts, batch_size=0)
    assert generator.generate([], GREEDY) == []


def test_weights_that_give_no_finite_logits_are_named(generator: Generator, parts: Any) -> None:
    table = next(iter(parts[0].get_parameters()))
    before = table.asnumpy().copy()
    table.set_data(Tensor(np.full_like(before, 3e38)))
    try:
        with pytest.raises(CheckpointError, match=r"of prompt 1 the network gives numbers that are not finite"):
            generator.generate(PROMPTS, GREEDY)
    finally:
        table.set_data(Tensor(before))
