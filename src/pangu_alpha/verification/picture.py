"""The picture of `pangu verify`: every kind of layout, and the worst that was found in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pangu_alpha.verification.parity import Difference, Verdict

GOOD, CLOSE, WRONG, ABSENT = "#dcebf7", "#9cc3e4", "#b3001b", "#ffffff"
"""Blue is within its limit, darker from a tenth of it on; red is not. No other colour is between them."""
_ROW, _COLUMN = 0.24, 0.95


def draw(verdicts: Sequence[Verdict]) -> Figure:
    """A row a kind of layout, a column a comparison: the largest difference of all layouts of that kind.

    A kind is a mesh, or any layout with a feature. At the right, how many of them are good, and which one is the worst.
    """
    kinds = _kinds(verdicts)
    limits = {item.what: item.limit for verdict in verdicts for item in verdict.differences}
    size = (5.8 + _COLUMN * len(limits), 1.9 + _ROW * len(kinds))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    for row, members in enumerate(kinds.values()):
        for column, name in enumerate(limits):
            _draw_cell(axes, column, row, _worst(members, name))
        text, is_good = _summary(members)
        axes.text(len(limits) + 0.1, row + 0.5, text, va="center", fontsize=7, color="black" if is_good else WRONG)
    axes.set(xlim=(0, len(limits)), ylim=(len(kinds), 0))
    axes.set_yticks([row + 0.5 for row in range(len(kinds))], list(kinds), fontsize=7.5)
    labels = [f"{name}\nlimit {limit:.0e}" if limit else f"{name}\nnone allowed" for name, limit in limits.items()]
    axes.set_xticks([column + 0.5 for column in range(len(limits))], labels, rotation=35, ha="left", fontsize=7)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    num_good = sum(verdict.is_good for verdict in verdicts)
    figure.suptitle(
        f"{num_good} of {len(verdicts)} layouts, executed and compared with one device, agree: the largest differences "
        "of each kind\nblue: within its limit (darker: above a tenth of it), red: not",
        fontsize=9,
    )
    return figure


def _kinds(verdicts: Sequence[Verdict]) -> dict[str, list[Verdict]]:
    """Name → layouts: first the meshes, then the features, in the order in which they come."""
    meshes: dict[str, list[Verdict]] = {}
    features: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        words = verdict.case.split()
        meshes.setdefault(" ".join(words[:3]), []).append(verdict)
        for word in words[3:]:
            features.setdefault(f"any {word}", []).append(verdict)
    return {**meshes, **features}


def _share(item: Difference) -> float:
    """Share of its limit that a difference takes; infinite when it is no number, or when none is allowed."""
    if item.limit and not math.isnan(item.value):
        return item.value / item.limit
    return 0.0 if item.is_good else math.inf


def _worst(verdicts: Sequence[Verdict], name: str) -> Difference | None:
    found = [item for verdict in verdicts for item in verdict.differences if item.what == name]
    return max(found, key=_share, default=None)


def _draw_cell(axes: Axes, column: int, row: int, item: Difference | None) -> None:
    color = ABSENT if item is None else WRONG if not item.is_good else CLOSE if _share(item) > 0.1 else GOOD
    axes.add_patch(Rectangle((column, row), 1, 1, facecolor=color, edgecolor="white"))
    if item is not None:
        text = f"{item.value:.0f}" if item.limit == 0 else f"{item.value:.1e}"
        color = "black" if item.is_good else "white"
        axes.text(column + 0.5, row + 0.5, text, color=color, ha="center", va="center", fontsize=7)


def _summary(verdicts: Sequence[Verdict]) -> tuple[str, bool]:
    """How many are good, and the worst, in words; whether all are good."""
    num_good = sum(verdict.is_good for verdict in verdicts)
    shares: Mapping[str, float] = {
        verdict.case: math.inf if verdict.failure else max(map(_share, verdict.differences), default=0.0)
        for verdict in verdicts
    }
    worst = max(shares, key=lambda case: shares[case])
    failure = next((verdict.case for verdict in verdicts if verdict.failure), None)
    what = f"not executed: {failure}" if failure else f"worst: {worst}"
    return f"{num_good} of {len(verdicts)} good, {what}", num_good == len(verdicts)
