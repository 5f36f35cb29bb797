"""The pictures that `pangu plan` draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pangu_alpha.cli.plan_recipe import check_parent
from pangu_alpha.config import RunConfig
from pangu_alpha.console import say
from pangu_alpha.errors import ConfigError
from pangu_alpha.planner.hardware import Hardware
from pangu_alpha.planner.job import Job
from pangu_alpha.planner.mesh_map import mesh_times
from pangu_alpha.planner.peak import stage_peaks
from pangu_alpha.planner.search import Found
from pangu_alpha.planner.step import account, price_recipe
from pangu_alpha.planner.timeline import spans


def check_pictures(output: Path | None, folder: Path | None) -> None:
    """Refuse what cannot be drawn before anything is searched, and make the folder of `--pictures`.

    Raises:
        ConfigError: an ending that is no picture's, or a place where nothing can be written.
    """
    if output is not None:
        from pangu_alpha.topology.pictures import check_ending

        check_ending(output)
        check_parent("--output", output)
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--pictures {folder}: the directory cannot be made: {error.strerror}") from error


def draw_pictures(job: Job, config: RunConfig, winners: Sequence[Found], folder: Path) -> None:
    """Draw a layout's step and memory, the map of its job's meshes and, of `winners`, the scaling curve.

    Raises:
        ConfigError: a picture cannot be written.
    """
    from pangu_alpha.planner.step_pictures import draw_map, draw_memory, draw_scaling, draw_step
    from pangu_alpha.topology.pictures import save_figure

    priced = price_recipe(config, job.hardware)
    figures = {
        "step": draw_step(priced, account(priced)),
        "memory": draw_memory(stage_peaks(config), job.memory_bytes, job.hardware.name),
        "map": draw_map(list(mesh_times(job)), job),
        **({"scaling": draw_scaling(winners)} if winners else {}),
    }
    for name, figure in figures.items():
        save_figure(figure, folder / f"{name}.svg")
    print(f"\npictures in {folder}: {', '.join(f'{name}.svg' for name in figures)}")


def draw_pipeline(config: RunConfig, hardware: Hardware, path: Path) -> None:
    """Draw a layout's pipeline as it is executed, where it has one."""
    from pangu_alpha.topology.pictures import draw_schedule, save_figure
    from pangu_alpha.topology.schedule import Timeline

    parallel, num = config.parallel, config.train.num_micro_batches
    if parallel.pp == 1:
        say(f"pangu: --output {path}: this layout has one stage, and no pipeline to draw")
        return
    priced = price_recipe(config, hardware)
    found = account(priced)
    title = (
        f"{num} micro-batches on {parallel.pp} stages of {hardware.name}: {found.pipeline_seconds:.2f} s of the step's "
        f"{found.seconds:.2f} s, of which stages wait {found.bubble:.1%}"
    )
    timeline = Timeline(parallel.pp, tuple(spans(parallel, num, priced.times)))
    save_figure(draw_schedule(timeline, title, "seconds; a number is a micro-batch"), path)
    print(f"\npicture in {path}")
