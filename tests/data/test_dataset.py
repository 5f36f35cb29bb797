from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pangu_alpha.config import DATA_MIXES, RunConfig, load_config
from pangu_alpha.data import (
    Batch,
    TokenFile,
    TrainingData,
    ValidationData,
    open_token_file,
    open_training_data,
    open_validation_data,
    pack,
)
from pangu_alpha.errors import ConfigError, DataError

SEQ_LENGTH = 16
shared = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def assert_same(one: Batch, other: Batch) -> None:
    for field in fields(Batch):
        assert np.array_equal(getattr(one, field.name), getattr(other, field.name)), field.name


@pytest.fixture
def sources(tmp_path: Path, byte_tokenizer: Any, chinese_documents: list[str]) -> list[TokenFile]:
    parts = {"novel": chinese_documents[:1], "classics": chinese_documents[1:4], "letter": chinese_documents[4:]}
    for name, texts in parts.items():
        pack(texts, byte_tokenizer, tmp_path / name)
    return [open_token_file(tmp_path / name) for name in parts]


@pytest.fixture
def training(sources: list[TokenFile]) -> TrainingData:
    return TrainingData(sources, [5, 3, 2], seq_length=SEQ_LENGTH, batch_size=12, seed=7)


def all_windows(source: TokenFile) -> list[tuple[int, ...]]:
    stream = source.tokens.tolist()
    windows = [stream[start : start + SEQ_LENGTH + 1] for start in range(0, len(stream) - 1, SEQ_LENGTH)]
    return [tuple(window + [0] * (SEQ_LENGTH + 1 - len(window))) for window in windows]


@shared
@given(step=st.integers(0, 500), start=st.integers(-12, 12), stop=st.integers(-12, 12), stride=st.integers(1, 5))
def test_rows_are_those_of_the_whole_batch(
    training: TrainingData, step: int, start: int, stop: int, stride: int
) -> None:
    rows = slice(start, stop, stride)
    whole, part = training.batch(step), training.batch(step, rows)
    for field in fields(Batch):
        assert np.array_equal(getattr(part, field.name), getattr(whole, field.name)[rows]), field.name


@pytest.mark.parametrize("batch_size", [1, 5, 12, 100])
def test_the_sequence_does_not_depend_on_the_batch_size(training: TrainingData, batch_size: int) -> None:
    other = TrainingData(training.sources, [5, 3, 2], seq_length=SEQ_LENGTH, batch_size=batch_size, seed=training.seed)
    together = training.samples(np.arange(600))
    parts = [other.batch(step) for step in range(600 // batch_size)]
    assert np.array_equal(np.concatenate([part.input_ids for part in parts]), together.input_ids)
    assert np.array_equal(np.concatenate([part.sample_keys for part in parts]), together.sample_keys)


def test_any_step_may_come_first(training: TrainingData, sources: list[TokenFile]) -> None:
    steps = [10**9, 3, 700, 0, 341, 3]
    batches = [training.batch(step) for step in steps]
    for step, batch in zip(steps, batches, strict=True):
        fresh = TrainingData(sources, [5, 3, 2], seq_length=SEQ_LENGTH, batch_size=12, seed=7)
        assert_same(fresh.batch(step), batch)


def test_an_epoch_has_each_window_once_and_the_next_another_order(sources: list[TokenFile]) -> None:
    source = sources[1]
    expected = all_windows(source)
    data = TrainingData([source], [1], seq_length=SEQ_LENGTH, batch_size=len(expected), seed=3)
    epochs = [list(map(tuple, data.windows(i * len(expected) + np.arange(len(expected))).tolist())) for i in range(3)]
    for epoch in epochs:
        assert Counter(epoch) == Counter(expected)
    assert len({tuple(epoch) for epoch in [*epochs, expected]}) == 4
    mask = np.concatenate([data.batch(i).loss_mask for i in range(2)])
    assert mask.sum() == 2 * (source.info.num_tokens - 1)


def test_blend_has_exact_shares_of_each_sources_windows(training: TrainingData, sources: list[TokenFile]) -> None:
    seen = Counter(map(tuple, training.windows(np.arange(10 * 70)).tolist()))
    for source, share in zip(sources, (5, 3, 2), strict=True):
        windows = all_windows(source)
        counts = [seen[window] for window in windows]
        assert sum(counts) == 70 * share
        # Within one epoch of each other: no window comes twice before all have come once.
        assert max(counts) - min(counts) <= 1


def test_seed_and_step_decide_the_sample_keys(training: TrainingData, sources: list[TokenFile]) -> None:
    sample_keys = training.samples(np.arange(5000)).sample_keys
    assert len(set(sample_keys.tolist())) == 5000
    assert sample_keys.min() >= 0
    bits = np.unpackbits(sample_keys.astype(">u4").view(np.uint8)).reshape(5000, 32)[:, 1:]
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.035
    other = TrainingData(sources, [5, 3, 2], seq_length=SEQ_LENGTH, batch_size=12, seed=8)
    assert not np.any(other.samples(np.arange(5000)).sample_keys == sample_keys)
    assert not np.array_equal(other.batch(0).input_ids, training.batch(0).input_ids)


def test_the_fingerprint_tells_other_data(training: TrainingData, sources: list[TokenFile]) -> None:
    def fingerprint(**changes: Any) -> str:
        settings: dict[str, Any] = {
            "weights": [5, 3, 2],
            "seq_length": SEQ_LENGTH,
            "batch_size": 12,
            "seed": 7,
            **changes,
        }
        return TrainingData(settings.pop("sources", sources), settings.pop("weights"), **settings).fingerprint

    assert fingerprint() == fingerprint(batch_size=3) == fingerprint(weights=[0.5, 0.3, 0.2]) == training.fingerprint
    others: list[dict[str, Any]] = [{"seed": 8}, {"weights": [5, 2, 3]}, {"seq_length": 8}, {"sources": sources[::-1]}]
    assert len({fingerprint(), *(fingerprint(**change) for change in others)}) == 5


@pytest.mark.parametrize("batch_size", [1, 4, 7, 1000])
def test_validation_has_each_window_once_in_order(sources: list[TokenFile], batch_size: int) -> None:
    data = ValidationData(sources, seq_length=SEQ_LENGTH, batch_size=batch_size)
    batches = [data.batch(i) for i in range(data.num_batches)]
    rows = np.concatenate([np.concatenate([b.input_ids, b.labels[:, -1:]], axis=1) for b in batches])
    expected = [window for source in sources for window in all_windows(source)]
    assert list(map(tuple, rows[: len(expected)].tolist())) == expected
    assert len(rows) - len(expected) < batch_size
    assert not rows[len(expected) :].any()
    assert sum(b.loss_mask.sum() for b in batches) == sum(source.info.num_tokens - 1 for source in sources)
    assert_same(data.batch(0, slice(0, 1)), ValidationData(sources, seq_length=SEQ_LENGTH, batch_size=1).batch(0))


def test_a_file_of_one_token_and_its_end(tmp_path: Path, byte_tokenizer: Any) -> None:
    pack(["a"], byte_tokenizer, tmp_path / "t")
    data = TrainingData([open_token_file(tmp_path / "t")], [1], seq_length=4, batch_size=3, seed=1)
    assert data.batch(5).input_ids.tolist() == [[100, 1, 0, 0]] * 3
    assert data.batch(5).labels.tolist() == [[1, 0, 0, 0]] * 3
    assert data.batch(5).loss_mask.tolist() == [[1, 0, 0, 0]] * 3


@pytest.fixture
def recipe(sources: list[TokenFile]) -> Callable[..., RunConfig]:
    def build(train: list[dict[str, Any]] | None = None, **data: Any) -> RunConfig:
        fields = load_config("tiny_cpu").model_dump()
        entries = [{"path": source.prefix} for source in sources] if train is None else train
        fields["data"] = {"train": entries, "validation": entries, **data}
        fields["model"]["vocab_size"] = 259
        return RunConfig.model_validate(fields)

    return build


def test_opening_what_a_recipe_names(recipe: Callable[..., RunConfig], sources: list[TokenFile]) -> None:
    config = recipe(
        [{"path": source.prefix, "weight": weight} for source, weight in zip(sources, (1, 2, 1.5), strict=True)]
    )
    training, validation = open_training_data(config), open_validation_data(config, "bytes-1")
    assert training.blend.weights == (2, 4, 3)
    assert training.tokenizer_fingerprint == "bytes-1"
    assert training.batch(0).input_ids.shape == validation.batch(0).labels.shape == (8, 256)


def test_a_mix_gives_the_papers_weights(recipe: Callable[..., RunConfig], sources: list[TokenFile]) -> None:
    entries = [{"path": sources[0].prefix, "name": name, "weight": 9} for name in reversed(DATA_MIXES["paper_200b"])]
    assert open_training_data(recipe(entries, mix="paper_200b")).blend.weights == (690, 783, 6281, 1223, 1023)
    with pytest.raises(
        ConfigError, match=r"needs one source for each of the names public.*data.train has encyclopedia"
    ):
        open_training_data(recipe(entries[:-1], mix="paper_200b"))
    with pytest.raises(ConfigError, match=r"\(no name\)"):
        open_training_data(recipe([*entries[:-1], {"path": sources[0].prefix}], mix="paper_200b"))


def test_what_cannot_be_trained_on(
    recipe: Callable[..., RunConfig], sources: list[TokenFile], make_byte_tokenizer: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"data\.train names no token file"):
        open_training_data(recipe([]))
    with pytest.raises(ConfigError, match=r"data\.validation names no token file"):
        open_validation_data(recipe(validation=[]))
    with pytest.raises(DataError, match=r"nowhere\.json: no such file"):
        open_training_data(recipe([{"path": tmp_path / "nowhere"}]))
    with pytest.raises(DataError, match=r"packed with the tokenizer bytes-1, but the run uses bytes-2"):
        open_validation_data(recipe(), "bytes-2")
    pack(["学"], make_byte_tokenizer(259, "bytes-2"), tmp_path / "other")
    with pytest.raises(DataError, match=r"other: packed with the tokenizer bytes-2, but .*novel uses bytes-1"):
        open_training_data(recipe([{"path": sources[0].prefix}, {"path": tmp_path / "other"}]))
    pack(["学"], make_byte_tokenizer(260), tmp_path / "large")
    with pytest.raises(DataError, match=r"large: its tokenizer has 260 ids, but model.vocab_size is 259"):
        open_training_data(recipe([{"path": tmp_path / "large"}]))
