"""Pictures of the mesh (paper Figures 4 and 5) and of the pipeline's schedule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Patch, Rectangle

from pangu_alpha.config import ParallelConfig
from pangu_alpha.errors import ConfigError
from pangu_alpha.files import written_aside
from pangu_alpha.topology.mesh import Axis, Mesh
from pangu_alpha.topology.schedule import Timeline

COLOURS: dict[Axis, str] = {"mp": "#e08e3c", "pp": "#4a9a6b", "dp": "#4a7ebb"}
FORWARD, BACKWARD = "#4a7ebb", "#4a9a6b"
"""Of the first chunk; the others are paler."""
_PALEST = 0.6
"""White in the last chunk's shade."""
INK, LINE, PALE = "#30363d", "#9aa5b1", "#eef1f4"
_MAX_NUMBERED = 512
"""Devices; above, the cells have no room for their ranks."""
_TITLE, _LEGEND = 0.5, 1.4
"""Inches above and below the mesh."""


def check_ending(path: Path) -> None:
    """Refuse a picture of a kind that is not drawn.

    Raises:
        ConfigError: it is none of .svg and .png.
    """
    if path.suffix not in (".svg", ".png"):
        raise ConfigError(f"--output {path}: pictures are .svg or .png. Choose one of these endings")


def save_figure(figure: Figure, path: Path) -> None:
    """Write `figure` as SVG or PNG by the ending of `path`; the file appears whole or not at all.

    Raises:
        ConfigError: another ending, or the file cannot be written.
    """
    check_ending(path)
    try:
        # The same picture gives the same bytes.
        with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pangu"}), written_aside(path) as aside:
            metadata = {"Date": None} if path.suffix == ".svg" else None
            figure.savefig(aside, format=path.suffix[1:], dpi=130, metadata=metadata)
    except OSError as error:
        raise ConfigError(f"--output {path} cannot be written: {error.strerror}. Choose another place") from error
    finally:
        plt.close(figure)


def draw_mesh(parallel: ParallelConfig) -> Figure:
    """Every device, and the three groups of one of them.

    A box is a replica: what the paper's Figure 5 puts into a rack. Its rows are the pipeline stages, a server each; the
    cells of a row are the operator-level slices.
    """
    mesh = Mesh.of(parallel)
    width, height = mesh.mp + 1.2, mesh.pp + 1.6
    columns = _num_columns(mesh.dp, width, height)
    # Cells' widths at the left, for the names of the stages: small cells have relatively larger names.
    margin = 3.5 if mesh.num_ranks > _MAX_NUMBERED else 2.0
    extent = columns * width + margin, math.ceil(mesh.dp / columns) * height
    scale = min(13 / extent[0], 8 / extent[1], 0.6)
    size = max(extent[0] * scale, 9.0), extent[1] * scale + _TITLE + _LEGEND
    figure = plt.figure(figsize=size)
    axes = figure.add_axes((0.0, _LEGEND / size[1], extent[0] * scale / size[0], extent[1] * scale / size[1]))
    chosen = int(mesh.ranks[mesh.pp // 2, 0, mesh.mp // 2])
    groups = {axis: mesh.group(axis, chosen) for axis in COLOURS}
    corners = [(replica % columns * width, replica // columns * height) for replica in range(mesh.dp)]
    for replica, corner in enumerate(corners):
        _draw_replica(axes, mesh, replica, corner, groups, scale)
    middle = mesh.mp // 2 + 0.5
    for (left, top), (right, below) in pairwise(corners):
        if top == below:  # a line in the gap above the row of the group's members
            gap, cell = top + mesh.pp // 2, top + mesh.pp // 2 + 0.1
            xs, ys = (left + middle, left + middle, right + middle, right + middle), (cell, gap, gap, cell)
            axes.plot(xs, ys, color=COLOURS["dp"], lw=1.4, zorder=3)
    axes.set_xlim(-margin, extent[0] - margin)
    axes.set_ylim(extent[1] - 0.4, -0.4)
    axes.axis("off")
    numbers = f"rank = (stage · {mesh.dp} + replica) · {mesh.mp} + slice"
    title = f"{mesh} = {mesh.num_ranks} devices,  {numbers}"
    figure.text(0.015, 1 - 0.3 / size[1], title, color=INK, fontsize=11, va="center")
    figure.legend(handles=_mesh_legend(parallel, chosen, groups), loc="lower left", fontsize=8.5, frameon=False)
    return figure


def draw_schedule(timeline: Timeline, title: str, unit: str) -> Figure:
    """When each stage computes which micro-batch; what is left grey is the bubble.

    Args:
        timeline: of one optimizer step.
        title: above the picture.
        unit: of the time.
    """
    pp, end = timeline.num_stages, timeline.duration
    figure, axes = plt.subplots(figsize=(14, 0.34 * pp + 1.9), layout="constrained")
    axes.add_collection(
        PatchCollection([Rectangle((0, stage - 0.45), end, 0.9) for stage in range(pp)], color="#e3e6ea")
    )
    points = 13 * 72 / end
    num_digits = len(str(max(span.task.micro_batch for span in timeline.spans)))
    num_chunks = 1 + max(span.task.chunk for span in timeline.spans)
    forward, backward = shades_of(FORWARD, num_chunks), shades_of(BACKWARD, num_chunks)
    for span in timeline.spans:
        shades, chunk = forward if span.task.direction == "forward" else backward, span.task.chunk
        length = span.end - span.start
        box = Rectangle((span.start, span.stage - 0.45), length, 0.9, fc=shades[chunk], ec="white", lw=0.6)
        axes.add_patch(box)
        font = min(8.0, length * points / (0.75 * num_digits))
        if font > 3.5:
            colour = "white" if chunk < num_chunks / 2 else INK
            middle = span.start + length / 2
            axes.text(
                middle, span.stage, str(span.task.micro_batch), ha="center", va="center", fontsize=font, color=colour
            )
    axes.set_xlim(0, end)
    axes.set_ylim(pp - 0.4, -0.6)
    axes.set_yticks(range(pp), [f"stage {stage}" for stage in range(pp)], fontsize=8)
    axes.tick_params(left=False, labelcolor=INK, labelsize=8)
    axes.set_xlabel(unit, fontsize=9)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    figure.legend(handles=_schedule_legend(num_chunks), loc="outside lower left", ncols=8, fontsize=8, frameon=False)
    return figure


def _num_columns(num_boxes: int, width: float, height: float) -> int:
    """Boxes beside each other, so that the whole is nearest to 16:9."""

    def misfit(columns: int) -> float:
        return abs(math.log(columns * width / (math.ceil(num_boxes / columns) * height) / (16 / 9)))

    return min(range(1, num_boxes + 1), key=misfit)


def _draw_replica(
    axes: Axes,
    mesh: Mesh,
    replica: int,
    corner: tuple[float, float],
    groups: dict[Axis, tuple[int, ...]],
    scale: float,
) -> None:
    """Draw the box of `replica` with its upper left corner at `corner`; a cell is `scale` inches wide."""
    left, top = corner
    number_font, name_font = min(8.0, 26 * scale), min(8.0, 48 * scale)
    rack = FancyBboxPatch(
        (left - 0.12, top - 0.12), mesh.mp + 0.24, mesh.pp + 0.24, boxstyle="round,pad=0.1", fc="white", ec=LINE, lw=1
    )
    axes.add_patch(rack)
    axes.text(left + mesh.mp / 2, top + mesh.pp + 0.3, f"replica {replica}", ha="center", va="top", fontsize=name_font)
    for stage in range(mesh.pp):
        ranks = [int(rank) for rank in mesh.ranks[stage, replica]]
        for cell, rank in enumerate(ranks):
            colours = [COLOURS[axis] for axis in ("mp", "pp", "dp") if rank in groups[axis]]
            fill = INK if len(colours) == 3 else colours[0] if colours else PALE
            box = Rectangle((left + cell + 0.04, top + stage + 0.1), 0.92, 0.8, fc=fill, ec=LINE, lw=0.4)
            axes.add_patch(box)
            if mesh.num_ranks <= _MAX_NUMBERED:
                ink = "white" if colours else INK
                middle = (left + cell + 0.5, top + stage + 0.5)
                axes.text(*middle, str(rank), ha="center", va="center", fontsize=number_font, color=ink)
        if left == 0 and mesh.pp > 1:
            axes.text(
                -0.35, top + stage + 0.5, f"stage {stage}", ha="right", va="center", fontsize=name_font, color=INK
            )


def _mesh_legend(parallel: ParallelConfig, chosen: int, groups: dict[Axis, tuple[int, ...]]) -> list[Artist]:
    """The five dimensions of parallelism, as in the paper's Figure 4."""
    again = {"none": "off", "selective": "attention scores and elementwise results", "whole": "whole layers"}
    some = f", on the first {parallel.rematerialised_stages} stages" if parallel.rematerialised_stages else ""
    sequence = ", and between the products the rows of a sample" if parallel.sequence_parallel else ""
    lines: dict[Axis, tuple[str, str]] = {
        "mp": ("operator-level", f"cut every matrix among them{sequence}; inside a server"),
        "pp": ("pipeline", "hold the layers, one part after the other; the servers of a rack"),
        "dp": ("data", "hold the same part and compute different samples; across racks"),
    }
    sharding = "they also divide parameters and Adam moments among them" if parallel.optimizer_sharding else "off"
    return [
        Patch(color=INK, label=f"rank {chosen}"),
        *(
            Patch(
                color=COLOURS[axis],
                label=f"{name}: {_ranks(groups[axis])} {what}" if groups[axis][1:] else f"{name}: off",
            )
            for axis, (name, what) in lines.items()
        ),
        Patch(fill=False, ec=COLOURS["dp"], label=f"optimizer: {sharding}"),
        Line2D([], [], ls="none", label=f"rematerialisation: {again[parallel.rematerialisation]}{some}"),
    ]


def _ranks(ranks: Sequence[int]) -> str:
    shown = ", ".join(map(str, ranks)) if len(ranks) <= 4 else f"{ranks[0]}, {ranks[1]}, … {ranks[-1]}"
    return f"ranks {shown}"


def shades_of(colour: str, number: int) -> list[str]:
    """So many shades of a colour, from itself to a pale one, no two alike."""
    rgb = np.array(to_rgb(colour))
    return [to_hex(rgb + (1 - rgb) * _PALEST * step / max(1, number - 1)) for step in range(number)]


def _schedule_legend(num_chunks: int) -> list[Patch]:
    patches = []
    for name, colour in (("forward", FORWARD), ("backward", BACKWARD)):
        for chunk, shade in enumerate(shades_of(colour, num_chunks)):
            label = name if num_chunks == 1 else f"{name}, chunk {chunk}"
            patches.append(Patch(color=shade, label=label))
    return [*patches, Patch(color="#e3e6ea", label="bubble")]
