from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from matplotlib import pyplot as plt

from pangu_alpha.config import load_config
from pangu_alpha.planner.memory import stage_states
from pangu_alpha.planner.picture import draw_stages


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def _draw(*overrides: str, recipe: str = "tiny_cpu") -> Any:
    config = load_config(recipe, overrides)
    return draw_stages(config, stage_states(config))


def _words(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_every_layer_is_on_its_stage() -> None:
    layers = _draw(recipe="200b_2048").axes[0]
    columns: dict[int, list[str]] = {}
    for text in layers.texts:
        columns.setdefault(int(text.get_position()[0]), []).append(text.get_text())
    assert columns[0] == ["embedding", "layer 0", "layer 1", "layer 2", "layer 3"]
    assert columns[7] == [f"layer {number}" for number in range(28, 32)]
    assert columns[15] == ["layer 60", "layer 61", "layer 62", "query layer", "final norm", "head, loss"]


def test_the_released_networks_normalise_before_the_query_layer_and_long_runs_are_short() -> None:
    words = _words(_draw(recipe="2b6").axes[0])
    assert words[:5] == ["embedding", "layer 0", "layer 1", "layer 2", "… 26 more …"]
    assert words[-3:] == ["final norm", "query layer", "head, loss"]


def test_the_bars_are_the_memory() -> None:
    config = load_config("200b_2048")
    states = stage_states(config)
    bars = draw_stages(config, states).axes[1].patches
    heights = [sum(bar.get_height() for bar in bars[stage :: len(states)]) for stage in range(len(states))]
    assert heights == pytest.approx([state.num_device_bytes / 2**30 for state in states])


@pytest.mark.parametrize(
    ("parallel", "communication"),
    [
        ("{dp: 2, mp: 2}", ["AllReduce"] * 2),
        ("{dp: 2, mp: 2, sequence_parallel: true}", ["AllGather", "ReduceScatter"] * 2),
        ("{dp: 2}", []),
    ],
)
def test_what_a_layer_exchanges(parallel: str, communication: list[str]) -> None:
    words = _words(_draw(f"parallel={parallel}").axes[2])
    assert [word for word in words if word in ("AllReduce", "AllGather", "ReduceScatter")] == communication


def test_the_cuts_of_figure_7() -> None:
    words = _words(_draw("parallel={dp: 2, mp: 2}").axes[2])
    assert [word for word in words if word.startswith("(")] == [
        "(2,1)",
        "(2,1) (1,2)",
        "(2,2,1,1) (2,2,1,1)",
        "(2,2) (2,1)",
        "(2,1)",
        "(2,1) (1,2)",
        "(2,2)",
        "(2,2) (2,1)",
    ]
