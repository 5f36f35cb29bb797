"""`pangu show`: a recipe's mesh, stages and schedule as pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.console import si

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pangu_alpha.config import RunConfig

_WHAT = ("mesh", "stages", "schedule")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.description = (
        "Draw a recipe's parallelism as SVG or PNG, and print its numbers.\n"
        "mesh: the devices and the groups they belong to. stages: the layers of each pipeline stage, its\n"
        "parameters and the memory they take. schedule: which stage computes which micro-batch when, and the bubble."
    )
    parser.epilog = (
        "examples:\n  pangu show mesh 200b_2048\n  pangu show stages 200b_2048 --output stages.png\n"
        "  pangu show schedule 200b_2048 train.num_micro_batches=32 train.batch_size=512"
    )
    parser.add_argument("what", choices=_WHAT, help="what to draw")
    parser.add_argument("recipe", help="a YAML file or the name of a shipped recipe")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that replace the recipe's")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="an .svg or .png file (default: WHAT.svg in this directory)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu show ...`."""
    from pangu_alpha.config import load_config
    from pangu_alpha.topology.pictures import save_figure

    config = load_config(arguments.recipe, arguments.overrides)
    output = arguments.output or Path(f"{arguments.what}.svg")
    figure = {"mesh": _mesh, "stages": _stages, "schedule": _schedule}[arguments.what](config)
    save_figure(figure, output)
    print(f"picture in {output}")


def _mesh(config: RunConfig) -> Figure:
    from pangu_alpha.topology.mesh import AXES, Mesh
    from pangu_alpha.topology.pictures import draw_mesh

    mesh = Mesh.of(config.parallel)
    print(f"{mesh} = {mesh.num_ranks} devices")
    for axis in AXES:
        groups = mesh.groups(axis)
        print(f"{axis:4} {len(groups):,} groups of {mesh.size(axis)}, the first {', '.join(map(str, groups[0]))}")
    return draw_mesh(config.parallel)


def _stages(config: RunConfig) -> Figure:
    from pangu_alpha.planner.memory import stage_states
    from pangu_alpha.planner.picture import draw_stages

    states = stage_states(config)
    print("stage layers parameters  a device:    weights   moments gradients       all")
    for stage, state in enumerate(states):
        kept = [*state.device_bytes.values(), state.num_device_bytes]
        print(
            f"{stage:5} {sum(map(len, state.chunks)):6} {si(state.num_parameters):>10}           "
            + " ".join(f"{num_bytes / 2**30:5.2f} GiB" for num_bytes in kept)
        )
    return draw_stages(config, states)


def _schedule(config: RunConfig) -> Figure:
    from pangu_alpha.planner.durations import backward_factor, task_durations
    from pangu_alpha.topology.pictures import draw_schedule
    from pangu_alpha.topology.schedule import pipeline_order, simulate

    parallel, num_micro_batches = config.parallel, config.train.num_micro_batches
    timeline = simulate(pipeline_order(parallel, num_micro_batches), task_durations(config))
    chunks = f"{parallel.num_chunks} · " if parallel.num_chunks > 1 else ""
    even = (parallel.pp - 1) / (parallel.num_chunks * num_micro_batches + parallel.pp - 1)
    title = (
        f"{parallel.schedule.replace('1f1b', '1F1B')}, {num_micro_batches} micro-batches on {parallel.pp} stages: "
        f"bubble {timeline.bubble:.1%} (were all stages alike: (pp - 1) / ({chunks}m + pp - 1) = {even:.1%})"
    )
    print(title)
    factors = sorted({backward_factor(config, stage) for stage in range(parallel.pp)})
    taken = " or ".join(f"{factor:.0f}" for factor in factors)
    unit = f"time, in forward passes of a layer; a backward takes {taken}, the head as its operations say"
    return draw_schedule(timeline, title, unit)
