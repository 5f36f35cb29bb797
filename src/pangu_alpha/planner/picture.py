"""A picture of the pipeline's stages, what they keep, and one layer cut over its ranks (paper Figures 6 and 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyBboxPatch, Rectangle

from pangu_alpha.config import RunConfig
from pangu_alpha.console import si
from pangu_alpha.parallel.implied import communication
from pangu_alpha.parallel.table import Dims, PrimitiveRow, sharding_table, sizes
from pangu_alpha.planner.memory import StageState
from pangu_alpha.topology.mesh import Mesh
from pangu_alpha.topology.pictures import COLOURS, INK, LINE

LAYER, ENDS, QUERY = "#cbe5d4", "#d5dde6", "#f3d9bd"
KEPT = ("#a9d3b7", "#dcecdf", "#c3cad3")
PARAMETER, TENSOR, OPERATOR = "#a9d3b7", "#b9cfe8", "#f4f5f7"
_MAX_LAYERS = 8
"""Of a run; the middle ones of a longer run are drawn as one box."""
_MIN_COLUMNS = 6
"""So that a single stage is not as wide as the picture."""
_GAP = 0.6
"""Between the runs of layers of a stage, in boxes."""
_MAX_CUTS = 16
"""Lines drawn through one tensor; the numbers below say the truth."""


@dataclass(frozen=True)
class DrawnOperator:
    """One operator of a layer as it is drawn."""

    name: str
    row: PrimitiveRow
    weight: str | None = None
    """Name of its parameter."""


def draw_stages(config: RunConfig, states: Sequence[StageState]) -> Figure:
    """The layers of each stage, the memory that a device's share of its state takes, and one layer cut over mp and dp.

    Args:
        config: the recipe.
        states: of its stages, from `stage_states`.
    """
    contents = [_contents(config, states, stage) for stage in range(len(states))]
    depths = [max(len(chunks[chunk]) for chunks in contents) for chunk in range(config.parallel.num_chunks)]
    upper = 0.26 * sum(depths) + 0.3 * len(depths)
    figure, (layers, memory, layer) = plt.subplots(
        3, 1, figsize=(14, upper + 4.9), height_ratios=(upper, 1.5, 2.6), layout="constrained"
    )
    _draw_layers(layers, contents, depths)
    _draw_memory(memory, states)
    _draw_layer(layer, Mesh.of(config.parallel))
    figure.suptitle(
        f"{config.model.num_layers} layers of width {config.model.hidden_size} on {Mesh.of(config.parallel)}",
        x=0.01, ha="left", fontsize=11, color=INK,
    )  # fmt: skip
    return figure


def _contents(config: RunConfig, states: Sequence[StageState], stage: int) -> list[list[tuple[str, str]]]:
    """What is on `stage`, chunk by chunk: names and colours, in the order of the computation."""
    query = config.model.num_layers - 1
    chunks = []
    for chunk in states[stage].chunks:
        names = [f"layer {number}" for number in chunk if number != query]
        if len(names) > _MAX_LAYERS:
            names[3:-2] = [f"… {len(names) - 5} more …"]
        chunks.append([(name, LAYER) for name in names])
    if stage == 0:
        chunks[0].insert(0, ("embedding", ENDS))
    if stage == len(states) - 1:
        ends = [("query layer", QUERY), ("final norm", ENDS)]
        if config.model.final_norm == "before_query_layer":
            ends.reverse()
        chunks[-1] += [*ends, ("head, loss", ENDS)]
    return chunks


def _draw_layers(axes: Axes, contents: list[list[list[tuple[str, str]]]], depths: list[int]) -> None:
    """A column a stage. The pipeline's way through the runs of layers is the green line.

    Args:
        contents: boxes by stage, chunk and place.
        depths: most boxes of any stage, by chunk.
    """
    num_stages = len(contents)
    font = _font(num_stages)
    way: list[tuple[float, float]] = []
    for chunk in range(len(depths)):
        top = sum(depths[:chunk]) + _GAP * chunk
        if chunk:
            way += [(way[-1][0], top - _GAP / 2), (0.0, top - _GAP / 2)]
        for stage, chunks in enumerate(contents):
            for number, (name, colour) in enumerate(chunks[chunk]):
                style = "round,pad=0,rounding_size=0.06"
                place = (stage + 0.08, top + number + 0.08)
                axes.add_patch(FancyBboxPatch(place, 0.76, 0.84, boxstyle=style, fc=colour, ec=LINE, lw=0.6, zorder=2))
                axes.text(stage + 0.46, top + number + 0.5, name, ha="center", va="center", fontsize=font, color=INK)
            bottom = top + len(chunks[chunk]) - 0.5
            middle = stage + 0.46
            way += [(stage, top + 0.5), (middle, top + 0.5), (middle, bottom), (stage + 0.92, bottom)]
    axes.plot(*zip(*way, strict=True), color=COLOURS["pp"], lw=1.3, zorder=1)
    axes.set_xlim(-0.05, max(num_stages, _MIN_COLUMNS))
    axes.set_ylim(sum(depths) + _GAP * (len(depths) - 1) + 0.1, -0.1)
    axes.set_xticks([stage + 0.46 for stage in range(num_stages)], [f"stage {stage}" for stage in range(num_stages)])
    axes.tick_params(bottom=False, labelsize=font, labeltop=True, labelbottom=False, top=False, labelcolor=INK)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _font(num_stages: int) -> float:
    return min(8.0, 110 / num_stages)


def _draw_memory(axes: Axes, states: Sequence[StageState]) -> None:
    places = [stage + 0.46 for stage in range(len(states))]
    bottom = [0.0] * len(states)
    for (name, _), colour in zip(states[0].device_bytes.items(), KEPT, strict=True):
        heights = [state.device_bytes[name] / 2**30 for state in states]
        axes.bar(places, heights, 0.6, bottom=bottom, color=colour, label=f"{name}, float32")
        bottom = [below + height for below, height in zip(bottom, heights, strict=True)]
    for place, state in zip(places, states, strict=True):
        gib, font = state.num_device_bytes / 2**30, _font(len(states))
        text = f"{gib:.3g} GiB\n{si(state.num_parameters)}"
        axes.text(place, gib, text, ha="center", va="bottom", fontsize=font, color=INK)
    axes.set_xlim(-0.05, max(len(states), _MIN_COLUMNS))
    axes.set_ylim(0, 1.3 * max(state.num_device_bytes for state in states) / 2**30)
    axes.set_xticks([])
    axes.set_ylabel("GiB of a device", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=3, fontsize=7.5, frameon=False)
    axes.set_title(
        "kept from step to step by a device; below it, the parameters of the stage", loc="left", fontsize=8.5
    )


def _draw_layer(axes: Axes, mesh: Mesh) -> None:
    table = sharding_table(mesh.sequence_parallel)
    attention, feed_forward = "layer.attention", "layer.feed_forward"
    steps = [
        DrawnOperator("normalise", table["layer.attention_norm.normalise.layer_norm"]),
        DrawnOperator("query, key, value", table[f"{attention}.value.matmul"], "W query, key, value"),
        DrawnOperator("softmax(QKᵀ)V", table[f"{attention}.weighted_sum"]),
        DrawnOperator("output", table[f"{attention}.output.matmul"], "W output"),
        DrawnOperator("normalise", table["layer.feed_forward_norm.normalise.layer_norm"]),
        DrawnOperator("expand", table[f"{feed_forward}.expand.matmul"], "W expand"),
        DrawnOperator("GeLU", table[f"{feed_forward}.gelu.gelu"]),
        DrawnOperator("contract", table[f"{feed_forward}.contract.matmul"], "W contract"),
    ]
    for number, (step, before) in enumerate(zip(steps, [steps[-1], *steps[:-1]], strict=True)):
        left = 2.0 * number
        _draw_cut(axes, (left + 0.1, 0.3), step.row.inputs[0], mesh, TENSOR)
        exchanged = _exchanged(before.row, step.row, mesh)
        if exchanged and number:
            axes.text(left - 0.04, 1.35, exchanged, ha="center", fontsize=7.5, color=COLOURS["mp"], weight="bold")
            axes.plot((left - 0.04, left - 0.04), (0.25, 1.25), color=COLOURS["mp"], lw=2)
        axes.add_patch(Ellipse((left + 1.35, 0.7), 1.0, 0.72, fc=OPERATOR, ec=LINE, lw=0.8))
        axes.text(left + 1.35, 0.7, step.name, ha="center", va="center", fontsize=6.8, color=INK)
        if step.weight is not None:
            _draw_cut(axes, (left + 1.05, 1.55), step.row.inputs[1], mesh, PARAMETER)
            axes.text(left + 1.35, 2.45, step.weight, ha="center", va="bottom", fontsize=7, color=INK)
            axes.plot((left + 1.35, left + 1.35), (1.08, 1.5), color=LINE, lw=0.8)
        shown = " ".join(str(sizes(dims, mesh)).replace(" ", "") for dims in step.row.inputs[:2] if len(dims) > 1)
        axes.text(left + 1.0, 0.05, shown, ha="center", va="top", fontsize=6.5, color=INK)
    last = _exchanged(steps[-1].row, steps[0].row, mesh)
    if last:
        axes.text(2.0 * len(steps), 1.35, last, ha="center", fontsize=7.5, color=COLOURS["mp"], weight="bold")
        axes.plot((2.0 * len(steps),) * 2, (0.25, 1.25), color=COLOURS["mp"], lw=2)
    axes.set_xlim(-0.2, 2.0 * len(steps) + 0.6)
    axes.set_ylim(-0.3, 2.8)
    axes.axis("off")
    axes.set_title(
        "one layer, forward: activations (blue) and weights (green) with their cuts; below, how many parts of each dim",
        loc="left", fontsize=8.5,
    )  # fmt: skip


def _exchanged(before: PrimitiveRow, after: PrimitiveRow, mesh: Mesh) -> str:
    """What mp has to exchange between two operators, "" for nothing."""
    if mesh.mp == 1:
        return ""
    results = [kind for kind, _ in communication(before, mesh) if kind != "AllGather"]
    inputs = [kind for kind, _ in communication(after, mesh) if kind == "AllGather"]
    return " ".join(results + inputs)


def _draw_cut(axes: Axes, corner: tuple[float, float], dims: Dims, mesh: Mesh, colour: str) -> None:
    """A tensor's first and last dim (of four dims: samples and heads), as a rectangle with its cuts."""
    parts = sizes(dims, mesh)
    rows, columns = (parts[0], parts[1]) if len(parts) == 4 else (parts[0], parts[-1])
    x, y, width, height = *corner, 0.6, 0.8
    axes.add_patch(Rectangle(corner, width, height, fc=colour, ec=LINE, lw=0.8))
    for number in range(1, min(rows, _MAX_CUTS)):
        axes.plot((x, x + width), (y + height * number / min(rows, _MAX_CUTS),) * 2, color="white", lw=0.8)
    for number in range(1, min(columns, _MAX_CUTS)):
        axes.plot((x + width * number / min(columns, _MAX_CUTS),) * 2, (y, y + height), color="white", lw=0.8)
