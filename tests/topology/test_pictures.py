from __future__ import annotations

import collections
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from pangu_alpha.config import ParallelConfig
from pangu_alpha.errors import ConfigError
from pangu_alpha.topology.pictures import (
    BACKWARD,
    COLOURS,
    FORWARD,
    INK,
    draw_mesh,
    draw_schedule,
    save_figure,
    shades_of,
)
from pangu_alpha.topology.schedule import pipeline_order, simulate


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def _cells(figure: Any) -> list[Rectangle]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]


def _words(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize(("dp", "mp", "pp"), [(2, 4, 3), (16, 8, 16), (64, 8, 1), (1, 1, 1)])
def test_every_device_is_a_cell_and_one_of_each_group_is_coloured(dp: int, mp: int, pp: int) -> None:
    cells = _cells(draw_mesh(ParallelConfig(dp=dp, mp=mp, pp=pp)))
    assert len(cells) == dp * mp * pp
    colours = collections.Counter(to_hex(cell.get_facecolor()) for cell in cells)
    assert colours[INK] == 1
    assert colours[COLOURS["dp"]] == dp - 1
    assert colours[COLOURS["mp"]] == mp - 1
    assert colours[COLOURS["pp"]] == pp - 1


def test_the_mesh_of_figure_5() -> None:
    figure = draw_mesh(ParallelConfig(dp=2, mp=4, pp=3, optimizer_sharding=True, rematerialisation="whole"))
    words = _words(figure)
    assert [word for word in words if word.isdigit()] == [
        *map(str, (0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19)),
        *map(str, (4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23)),
    ]
    legend = "\n".join(text.get_text() for text in figure.legends[0].get_texts())
    for said in ("ranks 8, 9, 10, 11", "ranks 2, 10, 18", "ranks 10, 14", "optimizer: they", "whole layers"):
        assert said in legend


def test_dimensions_that_are_not_used_are_off() -> None:
    figure = draw_mesh(ParallelConfig(dp=2))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [line for line in legend if line.endswith(": off")] == [
        "operator-level: off",
        "pipeline: off",
        "optimizer: off",
        "rematerialisation: off",
    ]


@pytest.mark.parametrize("num_chunks", [1, 2, 5])
def test_the_schedule_is_drawn_from_the_timeline(num_chunks: int) -> None:
    parallel = ParallelConfig(pp=4, num_chunks=num_chunks, schedule="interleaved" if num_chunks > 1 else "1f1b")
    timeline = simulate(pipeline_order(parallel, 8), lambda _, task: 1.0 if task.direction == "forward" else 2.0)
    figure = draw_schedule(timeline, "title", "unit")
    boxes = _cells(figure)
    drawn = {(box.get_x(), round(box.get_y() + 0.45), box.get_width()) for box in boxes}
    assert drawn == {(span.start, span.stage, span.end - span.start) for span in timeline.spans}
    colours = collections.Counter(to_hex(box.get_facecolor()) for box in boxes)
    for colour in (FORWARD, BACKWARD):
        assert [colours[shade] for shade in shades_of(colour, num_chunks)] == [4 * 8] * num_chunks
    assert collections.Counter(_words(figure))["7"] == 4 * 2 * num_chunks


def test_files_appear_whole_and_the_same(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.svg", "b.svg", "c.png")]
    for path in paths:
        save_figure(draw_mesh(ParallelConfig(dp=2)), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert "rank = " in "".join(ElementTree.parse(paths[0]).getroot().itertext())
    assert paths[2].read_bytes().startswith(b"\x89PNG")
    assert sorted(tmp_path.iterdir()) == paths


@pytest.mark.parametrize(("name", "said"), [("mesh.pdf", "svg or .png"), ("no/folder/mesh.svg", "cannot be written")])
def test_files_that_cannot_be(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        save_figure(draw_mesh(ParallelConfig()), tmp_path / name)
    assert not list(tmp_path.iterdir())
