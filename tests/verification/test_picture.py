"""The picture of verdicts: kinds with their worst case, and no colour that could be read as good and as wrong."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pangu_alpha.topology.pictures import save_figure
from pangu_alpha.verification.parity import Difference, Verdict
from pangu_alpha.verification.picture import CLOSE, GOOD, WRONG, draw


def verdict(case: str, value: float, count: int = 0) -> Verdict:
    return Verdict(case, [Difference("float64 loss", value, 1e-12), Difference("skipped", count, 0)])


def colors(figure: Figure) -> list[list[Sequence[float]]]:
    """Of each row's cells."""
    (axes,) = figure.axes
    cells = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    rows = sorted({cell.get_y() for cell in cells})
    return [[cell.get_facecolor()[:3] for cell in cells if cell.get_y() == row] for row in rows]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_each_kind_shows_its_worst_layout(tmp_path: Path) -> None:
    figure = draw(
        [
            verdict("dp2 mp1 pp1", 1e-16),
            verdict("dp2 mp1 pp1 sharded", 5e-13),
            verdict("dp1 mp2 pp1 dropout", 2e-16),
            Verdict("dp9 mp1 pp1 sharded", failure="no"),
        ]
    )
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == ["dp2 mp1 pp1", "dp1 mp2 pp1", "dp9 mp1 pp1", "any sharded", "any dropout"]
    found = texts(figure)
    assert found[:3] == ["5.0e-13", "0", "2 of 2 good, worst: dp2 mp1 pp1 sharded"]
    assert "0 of 1 good, not executed: dp9 mp1 pp1 sharded" in found
    assert "1 of 2 good, not executed: dp9 mp1 pp1 sharded" in found
    save_figure(figure, tmp_path / "verify.svg")
    assert "3 of 4 layouts" in (tmp_path / "verify.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("value", "count", "wanted"),
    [
        (1e-16, 0, (GOOD, GOOD)),
        (9.99e-13, 0, (CLOSE, GOOD)),
        (1.01e-12, 0, (WRONG, GOOD)),
        (np.nan, 0, (WRONG, GOOD)),
        (np.inf, 1, (WRONG, WRONG)),
    ],
)
def test_just_above_the_limit_is_as_red_as_far_above(value: float, count: int, wanted: tuple[str, str]) -> None:
    (row,) = colors(draw([verdict("dp2 mp1 pp1", value, count)]))
    assert row == [to_rgb(color) for color in wanted]


def test_good_and_wrong_are_far_apart() -> None:
    wrong = np.array(to_rgb(WRONG))
    for color in (GOOD, CLOSE):
        assert np.linalg.norm(np.array(to_rgb(color)) - wrong) > 0.8
        # Also without colours: much lighter.
        assert colorsys.rgb_to_hls(*to_rgb(color))[1] - colorsys.rgb_to_hls(*wrong)[1] > 0.3
