"""Accuracy against size, with error bars, beside the paper's two sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from pangu_alpha.evaluation.tasks.paper import SIZES
from pangu_alpha.evaluation.tasks.results import LABELS, Result
from pangu_alpha.files import written_aside

_COLOURS = {"0": "#4a7ebb", "1": "#e08e3c", "few": "#4a9a6b"}
_NAMES = {"0": "zero-shot", "1": "one-shot", "few": "few-shot"}
_COLUMNS = 4
_APART = 1.4
_INK = "#30363d"


def draw_scale(networks: Sequence[tuple[float, Sequence[Result]]], path: Path) -> None:
    """Write a panel for each measure of each task: its value for each network by number of parameters.

    Args:
        networks: parameters and results of each.
        path: ending in .svg or .png; it appears whole or not at all.
    """
    panels: dict[tuple[str, str], list[tuple[float, Result]]] = {}
    for size, results in networks:
        for result in results:
            panels.setdefault((result.task, result.metric), []).append((size, result))
    rows = math.ceil(len(panels) / _COLUMNS)
    columns = min(_COLUMNS, len(panels))
    figure = Figure(figsize=(3.2 * columns, 2.6 * rows + 0.7), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    sizes = [size for size, _ in networks] + [*SIZES.values()]
    for place, points in zip(axes, panels.values(), strict=False):
        _draw_panel(place, points)
        # All panels alike, those without a value of the paper, too: an axis of one size has no number on it.
        place.set_xlim(min(sizes) / 2, max(sizes) * 2)
    for place in axes[len(panels) :]:
        place.axis("off")
    lines = {
        label: line
        for place in axes[: len(panels)]
        for line, label in zip(*place.get_legend_handles_labels(), strict=True)
    }
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    with written_aside(path) as aside:
        figure.savefig(aside, format=path.suffix[1:], dpi=130)


def _draw_panel(axes: Axes, points: Sequence[tuple[float, Result]]) -> None:
    first = points[0][1]
    for shots, colour in _COLOURS.items():
        here = sorted(((size, result) for size, result in points if result.shots == shots), key=lambda one: one[0])
        if not here:
            continue
        # A little apart, so that no bar hides another.
        sizes = [size * _APART ** list(_COLOURS).index(shots) for size, _ in here]
        values = [result.value for _, result in here]
        below = [max(result.value - result.low, 0) for _, result in here]
        above = [max(result.high - result.value, 0) for _, result in here]
        axes.errorbar(
            sizes, values, yerr=[below, above], color=colour, marker="o", markersize=4, capsize=3, label=_NAMES[shots]
        )
        if here[0][1].paper is not None:
            axes.plot(
                list(SIZES.values()), here[0][1].paper, color=colour, marker="s", markersize=4, linestyle=":",
                label=f"{_NAMES[shots]}, paper",
            )  # fmt: skip
    for value, style, name in ((first.chance, "--", "chance"), (first.majority, "-.", "majority")):
        if value is not None:
            axes.axhline(value, color=_INK, linewidth=0.8, linestyle=style, label=name)
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title(f"{first.title}: {LABELS[first.metric]}", fontsize=9, loc="left")
    axes.set_xlabel("parameters", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
