"""A picture of a rank table: which stage and replica sits where, and what leaves a server or a rack.

Left the table, right the same servers in a random order. A column is a rack. The lines follow one pipeline and one
data-parallel group; the bars below count the links of all groups.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle

from pangu_alpha.cluster.patterns import ranges
from pangu_alpha.cluster.rank_tables.placement import Links, count_links
from pangu_alpha.cluster.rank_tables.rank_table import RankTable
from pangu_alpha.errors import ClusterError
from pangu_alpha.files import written_aside
from pangu_alpha.topology.mesh import Axis, Mesh

_MAX_CELLS = 64
"""Up to so many devices each device is a cell, with its rank; above, each server is one, with stage and replicas."""
_MAX_LABELS = 128
"""Servers; above, there is no room for words in the cells."""
_AXIS_NAMES = {"mp": "operator-level (mp)", "pp": "pipeline (pp)", "dp": "data and optimizer (dp)"}


def draw(table: RankTable, other: RankTable, mesh: Mesh, path: Path) -> None:
    """Draw `table` and, beside it, `other`, a random order of its servers, as SVG or PNG by the ending of `path`.

    Raises:
        ClusterError: the ending is another, or the file cannot be written.
    """
    if path.suffix not in (".svg", ".png"):
        raise ClusterError(f"{path}: drawings are .svg or .png; choose one of these endings")
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pangu", "font.size": 8}):
        figure = plt.figure(figsize=(11, 6.5), layout="constrained")
        grid = figure.add_gridspec(2, 2, height_ratios=(5, 1))
        for column, (title, drawn) in enumerate((("this rank table", table), ("the same servers at random", other))):
            _draw_places(figure.add_subplot(grid[0, column]), drawn, mesh, title)
            _draw_links(figure.add_subplot(grid[1, column]), count_links(drawn, mesh))
        figure.suptitle(f"{table.num_devices} devices on {len(table.servers)} servers, {mesh}")
        try:
            with written_aside(path) as aside:
                figure.savefig(aside, dpi=90, metadata={"Date": None} if path.suffix == ".svg" else None)
        except OSError as error:
            raise ClusterError(f"{path}: cannot be written: {error.strerror}; choose another place") from error
        finally:
            plt.close(figure)


def _draw_places(axes: Any, table: RankTable, mesh: Mesh, title: str) -> None:
    by_stage = mesh.pp > 1
    single = table.num_devices <= _MAX_CELLS
    labelled = len(table.servers) <= _MAX_LABELS
    racks = sorted({server.rack for server in table.servers}, key=_natural)
    filled = dict.fromkeys(racks, 0)
    centre: dict[int, tuple[float, float]] = {}
    cells, colours = [], []
    for server in sorted(table.servers, key=lambda server: _natural(server.address)):
        row, left = filled[server.rack], racks.index(server.rack) * 1.15
        filled[server.rack] += 1
        ranks = [device.rank_id for device in server.devices]
        groups = [[rank] for rank in ranks] if single else [ranks]
        width = 1 / len(groups)
        for i, group in enumerate(groups):
            place, x = mesh.place(group[0]), left + i * width
            cells.append(Rectangle((x, row + 0.05), width, 0.9))
            colours.append(place.stage / mesh.pp if by_stage else place.replica / mesh.dp)
            centre |= dict.fromkeys(group, (x + width / 2, row + 0.5))
            if labelled:
                replicas = ranges({mesh.place(rank).replica for rank in group})
                words = str(group[0]) if single else f"{place.stage}·{replicas}"
                axes.text(x + width / 8, row + 0.25, words, size=6, va="center")
    axes.add_collection(PatchCollection(cells, array=colours, cmap="viridis", alpha=0.45, edgecolor="white"))
    lines: tuple[tuple[Axis, str], ...] = (("pp", "-"), ("dp", ":"))
    for axis, style in lines:
        points = [centre[rank] for rank in mesh.group(axis, 0)]
        axes.plot(*zip(*points, strict=True), style, color="black", lw=1.2, label=f"{_AXIS_NAMES[axis]} of rank 0")
    axes.set(xlim=(-0.1, len(racks) * 1.15), ylim=(max(filled.values()), -0.1), yticks=[], title=title)
    axes.set_xticks([i * 1.15 + 0.5 for i in range(len(racks))], [rack or "servers" for rack in racks], rotation=90)
    cell = "device, with its rank" if single else "server, with stage·replicas" if labelled else "server"
    axes.set_ylabel(f"a cell: {cell}; colour: {'stage' if by_stage else 'replica'}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncol=2, frameon=False)


def _natural(text: str) -> list[str]:
    """A key that counts numbers as numbers: 10.0.0.2 comes before 10.0.0.10."""
    return [part.zfill(9) for part in re.split(r"(\d+)", text)]


def _draw_links(axes: Any, counts: list[Links]) -> None:
    names = [_AXIS_NAMES[links.axis] for links in counts]
    for links, name in zip(counts, names, strict=True):
        racks, servers = 100 * links.across_racks / links.num_links, 100 * links.across_servers / links.num_links
        axes.barh(name, racks, color="tab:red", label="between racks")
        axes.barh(name, servers, left=racks, color="tab:orange", label="between servers of a rack")
        axes.barh(name, 100 - racks - servers, left=racks + servers, color="tab:green", label="inside a server")
    axes.set(xlim=(0, 100), xlabel="% of the links of all groups")
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    axes.legend(unique.values(), unique.keys(), loc="upper center", bbox_to_anchor=(0.5, -0.5), ncol=3, frameon=False)
