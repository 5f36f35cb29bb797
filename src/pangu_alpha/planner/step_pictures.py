"""Pictures of a plan: a step's timeline, the memory of each stage, the map of meshes, the scaling curve."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from pangu_alpha.console import si
from pangu_alpha.planner.job import Job
from pangu_alpha.planner.mesh_map import MeshTime
from pangu_alpha.planner.peak import StagePeak
from pangu_alpha.planner.search import Found
from pangu_alpha.planner.step import PARTS, Priced, StepAccount
from pangu_alpha.planner.timeline import spans
from pangu_alpha.topology.pictures import BACKWARD, COLOURS, FORWARD, INK, LINE, PALE
from pangu_alpha.topology.schedule import Span

WAITING, AROUND, UPDATE = "#e3e6ea", "#8a6fb0", "#b9a06a"
LACKS_MEMORY, LIMIT = "#b4bac2", "#c65b4e"
_MEMORY_COLOURS = (
    "#a9d3b7", "#dcecdf", "#7d8894", "#4a9a6b", "#4a7ebb", "#9cc0e7", "#b9a06a", "#8a6fb0", "#e08e3c", "#c65b4e",
)  # fmt: skip


def draw_step(priced: Priced, found: StepAccount) -> Figure:
    """Each stage's step: what it computes, what mp's collectives take, when it waits, and what surrounds the pipeline.

    The collectives of a pass are drawn at its end; in truth they are between its operators.
    """
    config, pp = priced.config, len(priced.states)
    figure, axes = plt.subplots(figsize=(14, 1.8 + 0.34 * pp), layout="constrained")
    start, end = priced.gathers, priced.gathers + found.pipeline_seconds
    bars: dict[tuple[int, str], list[tuple[float, float]]] = defaultdict(list)
    for span in _spans(priced):
        compute = (span.end - span.start) * _computed(priced, span)
        colour = FORWARD if span.task.direction == "forward" else BACKWARD
        bars[span.stage, colour].append((start + span.start, compute))
        bars[span.stage, COLOURS["mp"]].append((start + span.start + compute, span.end - span.start - compute))
    for stage in range(pp):
        bars[stage, AROUND] += [(0.0, priced.gathers), (end, priced.reductions)]
        bars[stage, UPDATE].append((end + priced.reductions, priced.update))
        axes.broken_barh([(start, found.pipeline_seconds)], (stage - 0.42, 0.84), color=WAITING, lw=0)
    for (stage, colour), places in bars.items():
        axes.broken_barh(places, (stage - 0.42, 0.84), color=colour, lw=0)
    _frame(axes, pp, found.seconds)
    num, mesh = config.train.num_micro_batches, config.parallel
    axes.set_title(
        f"one step of {found.seconds:.2f} s: {num} micro-batches on {pp} stages of dp {mesh.dp} × mp {mesh.mp} "
        f"{priced.hardware.name}; stages wait {found.bubble:.1%} of the pipeline's time",
        loc="left", fontsize=11, color=INK,
    )  # fmt: skip
    names = (
        (FORWARD, "forward"), (BACKWARD, "backward"), (COLOURS["mp"], "mp collectives"), (WAITING, "waiting"),
        (AROUND, "gathers of weights, sums of gradients"), (UPDATE, "update"),
    )  # fmt: skip
    handles = [Patch(color=colour, label=name) for colour, name in names]
    figure.legend(handles=handles, loc="outside lower left", ncols=6, fontsize=8, frameon=False)
    return figure


def _spans(priced: Priced) -> Sequence[Span]:
    return spans(priced.config.parallel, priced.config.train.num_micro_batches, priced.times)


def _computed(priced: Priced, span: Span) -> float:
    """The share of a pass that is computation."""
    state, last = priced.states[span.stage], len(priced.states) - 1
    counts = {
        "embedding": span.stage == 0 and span.task.chunk == 0,
        "layer": len(state.chunks[span.task.chunk]),
        "head": span.stage == last and span.task.chunk == len(state.chunks) - 1,
    }
    passes = [(counts[part], priced.passes[span.stage][part, span.task.direction]) for part in PARTS]
    return sum(count * item.compute for count, item in passes) / sum(count * item.seconds for count, item in passes)


def _frame(axes: Axes, pp: int, seconds: float) -> None:
    axes.set_xlim(0, seconds)
    axes.set_ylim(pp - 0.4, -0.6)
    axes.set_yticks(range(pp), [f"stage {stage}" for stage in range(pp)], fontsize=8)
    axes.tick_params(left=False, labelcolor=INK, labelsize=8)
    axes.set_xlabel("seconds", fontsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)


def draw_memory(peaks: Sequence[StagePeak], memory_bytes: int, device: str) -> Figure:
    """What a device of each stage holds at its fullest, against what it has for a program."""
    names = list(dict.fromkeys(name for peak in peaks for name, size in peak.bytes_by_part.items() if size))
    figure, axes = plt.subplots(figsize=(max(7.0, 3.5 + 0.6 * len(peaks)), 5.2), layout="constrained")
    bottom = np.zeros(len(peaks))
    for name, colour in zip(names, _MEMORY_COLOURS * 2, strict=False):
        heights = np.array([peak.bytes_by_part.get(name, 0) / 2**30 for peak in peaks])
        axes.bar(range(len(peaks)), heights, 0.7, bottom=bottom, color=colour, label=name)
        bottom += heights
    for stage, height in enumerate(bottom):
        axes.text(stage, height, f"{height:.1f}", ha="center", va="bottom", fontsize=8, color=INK, zorder=3,
                  bbox={"fc": "white", "ec": "none", "pad": 0.5})  # fmt: skip
    limit = memory_bytes / 2**30
    axes.axhline(limit, color=LIMIT, lw=1.4, label=f"{limit:.1f} GiB for a program")
    axes.set_ylim(0, 1.12 * max(limit, bottom.max()))
    axes.set_xticks(range(len(peaks)), [str(stage) for stage in range(len(peaks))], fontsize=8)
    axes.set_xlabel("stage", fontsize=9)
    axes.set_ylabel("GiB of a device", fontsize=9)
    axes.tick_params(labelsize=8, labelcolor=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"a device of each stage, {device}, at its fullest", loc="left", fontsize=11, color=INK)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right center", fontsize=8, frameon=False)
    return figure


def draw_map(cells: Sequence[MeshTime], job: Job) -> Figure:
    """The fastest layout of each mesh by mp and pp; grey: does not fit; pale, like all left out: cannot be laid out.

    Args:
        cells: of all meshes; one at least can be laid out.
        job: that they are of.
    """
    shown = [cell for cell in cells if cell.seconds is not None or cell.missing_bytes is not None]
    columns, rows = (sorted({getattr(cell.mesh, axis) for cell in shown}) for axis in ("mp", "pp"))
    size = (max(6.5, 2.2 + 0.95 * len(columns)), 1.6 + 0.62 * len(rows))  # the title needs as much
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    times = [cell.seconds for cell in cells if cell.seconds is not None]
    best, colours = min(times, default=1.0), plt.get_cmap("YlGn_r")
    for cell in cells:
        if cell.mesh.mp not in columns or cell.mesh.pp not in rows:
            continue
        place = (columns.index(cell.mesh.mp), rows.index(cell.mesh.pp))
        fill, words = PALE, ""
        if cell.seconds is not None:
            share = min(1.0, np.log2(cell.seconds / best) / 3)  # the palest: eight times the best one's time
            fill, words = colours(0.15 + 0.75 * share), f"{cell.seconds:.2f} s"
        elif cell.missing_bytes is not None:
            fill, words = LACKS_MEMORY, f"+{cell.missing_bytes / 2**30:.3g} GiB"
        axes.add_patch(Rectangle((place[0] - 0.47, place[1] - 0.46), 0.94, 0.92, fc=fill, ec=LINE, lw=0.5))
        if words:
            is_best = cell.seconds == best
            axes.text(*place, f"{words}\ndp {cell.mesh.dp}", ha="center", va="center", fontsize=7.5,
                      color="white" if cell.seconds is not None and cell.seconds < 2 * best else INK,
                      weight="bold" if is_best else "normal")  # fmt: skip
    axes.set_xlim(-0.6, len(columns) - 0.4)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xticks(range(len(columns)), list(map(str, columns)), fontsize=8)
    axes.set_yticks(range(len(rows)), list(map(str, rows)), fontsize=8)
    axes.set_xlabel("mp", fontsize=9)
    axes.set_ylabel("pp", fontsize=9)
    axes.tick_params(length=0, labelcolor=INK)
    axes.spines[:].set_visible(False)
    axes.set_title(
        f"fastest step of each mesh, {job.num_devices:,} × {job.hardware.name}, {job.batch_size:,} samples\n"
        "grey: does not fit, and by how much; pale: cannot be laid out",
        loc="left", fontsize=10, color=INK,
    )  # fmt: skip
    return figure


def draw_scaling(winners: Sequence[Found]) -> Figure:
    """Tokens a second of the fastest layout of each number of devices, against as many times the first's."""
    numbers = [item.config.parallel.num_devices for item in winners]
    rates = [item.account.tokens_per_second for item in winners]
    ideal = [rates[0] * number / numbers[0] for number in numbers]
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    axes.plot(numbers, ideal, color=LINE, ls="--", lw=1, label="as many times the first's")
    axes.plot(numbers, rates, color=FORWARD, marker="o", lw=1.6, label="fastest layout")
    for number, rate, most, item in zip(numbers, rates, ideal, winners, strict=True):
        layout = item.layout
        axes.annotate(
            f"{rate / most:.0%}\ndp {layout.dp} mp {layout.mp} pp {layout.pp}", (number, rate), (6, -8),
            textcoords="offset points", fontsize=7.5, color=INK, va="top",
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(numbers, [f"{number:,}" for number in numbers], fontsize=8)
    axes.yaxis.set_major_formatter(lambda value, _: si(value))
    axes.set_xlim(numbers[0] / 1.2, numbers[-1] * 1.9)
    axes.set_ylim(min(rates) / 1.5, max(ideal) * 1.2)
    axes.set_xlabel("devices", fontsize=9)
    axes.set_ylabel("tokens/s", fontsize=9)
    axes.tick_params(labelsize=8, labelcolor=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    model = winners[0].config
    axes.set_title(f"{model.train.batch_size:,} samples a step on more devices", loc="left", fontsize=11, color=INK)
    return figure
