from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from pangu_alpha.config import load_config
from pangu_alpha.planner.hardware import load_hardware
from pangu_alpha.planner.job import Job, other_sizes
from pangu_alpha.planner.mesh_map import MeshTime, mesh_times
from pangu_alpha.planner.peak import stage_peaks
from pangu_alpha.planner.space import Layout
from pangu_alpha.planner.step import account, price_recipe
from pangu_alpha.planner.step_pictures import AROUND, UPDATE, WAITING, draw_map, draw_memory, draw_scaling, draw_step
from pangu_alpha.topology.pictures import BACKWARD, COLOURS, FORWARD

CHIP = load_hardware("910a")
RECIPE = load_config("2b6", ["model.num_layers=8"])
JOB = Job(RECIPE, 8, CHIP, CHIP.memory_bytes, 32, num_tokens=10**9)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def seconds_by_colour(figure: Any, stage: int) -> dict[str, float]:
    """Lengths of a stage's bars, by their colour."""
    found: dict[str, float] = {}
    for bars in figure.axes[0].collections:
        for path in bars.get_paths():
            (left, low), (right, _) = path.get_extents().get_points()
            if low == pytest.approx(stage - 0.42):
                colour = to_hex(bars.get_facecolor()[0])
                found[colour] = found.get(colour, 0.0) + right - left
    return found


@pytest.mark.parametrize("layout", ["interleaved", "one run", "one stage"])
def test_the_bars_of_a_step_are_its_account(layout: str) -> None:
    parallel = {
        "interleaved": ["parallel.mp=2", "parallel.dp=2", "parallel.pp=2", "parallel.schedule=interleaved",
                        "parallel.num_chunks=2", "train.num_micro_batches=4"],
        "one run": ["parallel.mp=2", "parallel.dp=2", "parallel.pp=2", "train.num_micro_batches=4"],
        "one stage": ["parallel.mp=2", "parallel.dp=4", "train.num_micro_batches=2"],
    }[layout]  # fmt: skip
    priced = price_recipe(load_config("2b6", ["model.num_layers=8", "train.batch_size=32", *parallel]), CHIP)
    found = account(priced)
    bars = seconds_by_colour(draw_step(priced, found), priced.busiest)
    parts = found.parts
    assert bars[FORWARD] == pytest.approx(parts["forward compute"])
    assert bars[BACKWARD] == pytest.approx(parts["backward compute"])
    assert bars[COLOURS["mp"]] == pytest.approx(parts["mp collectives"])
    assert bars[AROUND] == pytest.approx(parts["weights' gathers"] + parts["gradients' sums"])
    assert bars[UPDATE] == pytest.approx(parts["update"])
    busy = sum(bars[colour] for colour in (FORWARD, BACKWARD, COLOURS["mp"]))
    assert bars[WAITING] - busy == pytest.approx(parts["waiting in the pipeline"], abs=1e-9)


def test_the_memory_of_each_stage_stands_against_the_devices() -> None:
    peaks = stage_peaks(load_config("200b_2048_fast"))
    figure = draw_memory(peaks, CHIP.memory_bytes, CHIP.name)
    axes = figure.axes[0]
    tops = {round(bar.get_x() + bar.get_width() / 2): bar.get_y() + bar.get_height() for bar in axes.patches}
    assert tops == {stage: pytest.approx(peak.num_bytes / 2**30) for stage, peak in enumerate(peaks)}
    assert "30.0 GiB for a program" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_every_mesh_is_on_the_map_with_its_fastest_layout() -> None:
    job = replace(JOB, memory_bytes=6 << 30)
    cells = {(cell.mesh.mp, cell.mesh.pp): cell for cell in mesh_times(job)}
    result = job.search(1000)
    for place, cell in cells.items():
        seconds = [item.account.seconds for item in result.best if (item.layout.mp, item.layout.pp) == place]
        assert cell.seconds == (pytest.approx(min(seconds)) if seconds else None)
    assert any(cell.missing_bytes for cell in cells.values())
    words = [text.get_text() for text in draw_map(list(cells.values()), job).axes[0].texts]
    assert any(" s\ndp " in word for word in words) and any(word.startswith("+") for word in words)


def test_a_mesh_of_layouts_that_may_not_be_is_none() -> None:
    alone = replace(JOB, allows=lambda config: config.parallel.pp == 1)
    assert {cell.mesh.pp for cell in mesh_times(alone) if cell.seconds is not None} == {1}


def test_a_map_without_a_layout_that_fits_is_grey() -> None:
    cells = [MeshTime(Layout(1, 2, 4), None, 3 << 30), MeshTime(Layout(8, 1, 1))]
    axes = draw_map(cells, JOB).axes[0]
    assert [text.get_text() for text in axes.texts] == ["+3 GiB\ndp 1"] and len(axes.patches) == 1


@pytest.mark.parametrize("num_columns", [1, 2, 3, 8])
def test_the_title_of_a_map_is_inside_of_the_picture(num_columns: int) -> None:
    figure = draw_map([MeshTime(Layout(1, 2**column, 4), 1.5) for column in range(num_columns)], JOB)
    figure.canvas.draw()
    titles = [text for text in figure.axes[0].get_children() if "fastest step" in getattr(text, "get_text", str)()]
    (box,) = (text.get_window_extent() for text in titles)
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width


def test_the_curve_says_what_more_devices_are_worth() -> None:
    winners = [
        found for job in other_sizes(replace(JOB, num_devices=4096, batch_size=8192)) if (found := job.fastest())
    ]
    axes = draw_scaling(winners).axes[0]
    ideal, reached = (line.get_ydata() for line in axes.lines)
    assert ideal[0] == reached[0] and all(most >= rate for most, rate in zip(ideal, reached, strict=True))
    words = [text.get_text() for text in axes.texts]
    assert words[0].startswith("100%\ndp ") and len(words) == len(winners) == 4
