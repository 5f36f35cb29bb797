"""Networks and mixes against the paper's tables."""

from __future__ import annotations

import pytest

from pangu_alpha.config import DATA_MIXES, MODEL_PRESETS, ModelConfig


@pytest.mark.parametrize(
    ("preset", "layers", "hidden", "feed_forward", "heads", "final_norm"),
    [
        ("2b6", 32, 2560, 10240, 32, "before_query_layer"),
        ("13b", 40, 5120, 20480, 40, "before_query_layer"),
        ("200b", 64, 16384, 65536, 128, "after_query_layer"),
    ],
)
def test_table_1(preset: str, layers: int, hidden: int, feed_forward: int, heads: int, final_norm: str) -> None:
    model = ModelConfig(**MODEL_PRESETS[preset])
    assert (model.num_layers, model.hidden_size, model.num_heads) == (layers, hidden, heads)
    assert feed_forward == 4 * model.hidden_size
    assert (model.vocab_size, model.seq_length, model.final_norm) == (40000, 1024, final_norm)
    assert (model.dropout, model.compute_dtype) == (0.1, "float16")


def test_table_4() -> None:
    assert sum(DATA_MIXES["paper_200b"].values()) == pytest.approx(100.0)
    assert sum(DATA_MIXES["paper_2b6_13b"].values()) == pytest.approx(100.99), "as printed"
    assert DATA_MIXES["paper_200b"]["common_crawl"] == 62.81
    assert DATA_MIXES["paper_2b6_13b"]["common_crawl"] == 10.0
    assert set(DATA_MIXES["paper_200b"]) == set(DATA_MIXES["paper_2b6_13b"])


def test_presets_and_mixes_are_read_only() -> None:
    with pytest.raises(TypeError):
        MODEL_PRESETS["mine"] = {}  # type: ignore[index]
    with pytest.raises(TypeError):
        DATA_MIXES["mine"] = {}  # type: ignore[index]
