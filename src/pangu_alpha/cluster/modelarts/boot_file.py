"""What the boot file of a ModelArts job does: started once for each card, it runs that card's rank.

In the job's settings: `launch/modelarts_boot.py` as the boot file, `data_url` and `train_url` as its input and output,
and every setting of the recipe that is to be another one as a hyperparameter, such as `train.steps` = `1000`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pangu_alpha.cluster.launching.plan import PANGU
from pangu_alpha.cluster.modelarts.boot import Boot
from pangu_alpha.cluster.modelarts.place import find_place
from pangu_alpha.cluster.rank_tables.check import find_problems
from pangu_alpha.command_line import run_program
from pangu_alpha.config import load_config, override
from pangu_alpha.errors import ClusterError, ConfigError
from pangu_alpha.topology.mesh import Mesh
from pangu_alpha.training.runnable import require_runnable


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modelarts_boot.py",
        description="Run one card of a ModelArts job. Paths in the recipe are relative to data_url. The same job "
        "started again goes on from the newest checkpoint in train_url.",
        epilog="examples (ModelArts makes these words from the job's settings):\n"
        "  modelarts_boot.py --recipe=350m --data_url=obs://bucket/tokens --train_url=obs://bucket/runs/350m\n"
        "  modelarts_boot.py --recipe=350m --data_url=/home/ma-user/data --train_url=obs://bucket/runs --train.steps=9",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--recipe", required=True, help="a YAML file beside the code, or the name of a shipped recipe")
    parser.add_argument(
        "--data_url", metavar="URL", help="what the recipe reads: obs:// or a folder; copied once a node"
    )
    parser.add_argument("--train_url", metavar="URL", help="where results are kept: obs:// or a folder all nodes see")
    parser.add_argument("--work_dir", type=Path, default=Path("/cache"), metavar="DIR", help="on the node's own disk")
    parser.add_argument(
        "--sync_seconds", type=float, default=60.0, metavar="S", help="between two copies to train_url (60)"
    )
    parser.add_argument(
        "--time_limit", type=float, default=3600.0, metavar="S", help="for fetching data and results (3600)"
    )
    return parser


def make_boot(words: list[str] | None = None) -> Boot:
    """What this card is to do.

    Raises:
        PanguError: the job's variables, the recipe or the rank table are not what a job needs.
    """
    arguments, rest = _parser().parse_known_args(words)
    place = find_place(os.environ, arguments.time_limit)
    folder = arguments.work_dir / f"pangu_alpha_{place.job_id}"
    recipe = Path(arguments.recipe)
    recipe_name = str(recipe.resolve()) if recipe.is_file() else arguments.recipe
    overrides = [*(word.removeprefix("--") for word in rest), override("output", folder / "output")]
    config = load_config(recipe_name, overrides)
    if config.device != "ascend":
        raise ConfigError(f"device={config.device}: the cards of a ModelArts job are NPUs; set device=ascend")
    require_runnable(config, "mindspore", place.table.num_devices)
    problems = find_problems(place.table, Mesh.of(config.parallel))
    if problems:
        raise ClusterError(f"{place.rank_table} does not fit this job: {problems[0]}")
    return Boot(
        place=place,
        config=config,
        command=(*PANGU, "train", recipe_name, *overrides),
        folder=folder,
        data_url=arguments.data_url,
        train_url=arguments.train_url,
        sync_seconds=arguments.sync_seconds,
        time_limit=arguments.time_limit,
    )


def main() -> int:
    """Run one card and return its exit code; 2 for a wrong input."""
    return run_program("modelarts_boot", lambda: make_boot().run())
