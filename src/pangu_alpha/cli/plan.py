"""`pangu plan`: the fastest layouts of a recipe on so many devices, where their time goes, and why others are not."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.errors import ConfigError

if TYPE_CHECKING:
    from pangu_alpha.planner.hardware import Hardware
    from pangu_alpha.planner.job import Job

_SETTINGS = {
    "dp": "parallel.dp",
    "mp": "parallel.mp",
    "pp": "parallel.pp",
    "micro": "train.num_micro_batches",
    "chunks": "parallel.num_chunks",
    "remat": "parallel.rematerialisation",
    "remat_stages": "parallel.rematerialised_stages",
    "seq": "parallel.sequence_parallel",
    "shard": "parallel.optimizer_sharding",
}
"""Words of --explain, and the settings that they stand for."""
_ONE_DEVICE = (
    *(f"parallel.{axis}=1" for axis in ("dp", "mp", "pp", "num_chunks")),
    *("parallel.schedule=1f1b", "parallel.sequence_parallel=false", "train.num_micro_batches=1"),
)
"""A layout that takes every batch: to read a recipe whose own does not take the one that is asked for."""
MAX_SAMPLES, MAX_SHOWN = 1 << 20, 1000
"""Of a search: larger ones would not come to an end."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    from pangu_alpha.planner.hardware import list_hardware

    parser.description = (
        "Find the fastest layouts of a recipe on a number of devices: all of dp, mp, pp, micro-batches, runs of\n"
        "layers, rematerialisation, sequence parallelism and optimizer sharding, without a device and without\n"
        "compiling. Times and memory are a model's: docs/planner.md says how good it is."
    )
    parser.epilog = (
        "examples:\n  pangu plan 200b_2048 --devices 2048\n"
        "  pangu plan 13b --devices 64 --hardware 910b --memory 60GiB\n"
        "  pangu plan 200b_2048 --explain dp=16,mp=8,pp=16,micro=16,remat=whole\n"
        "  pangu plan 200b_2048 --devices 2048 --scaling --sensitivity --what-if\n"
        "  pangu plan 13b --days 30 --tokens-per-step 1048576 --price 1.5\n"
        "  pangu plan 200b_2048 --cluster hccl_2048.json --racks cluster.yaml --hardware my_chip.yaml\n"
        "  pangu plan 13b --devices 64 --hardware my_chip.yaml --write my.yaml --confirm\n"
        f"chips: {', '.join(list_hardware())}"
    )
    parser.add_argument("recipe", help="a YAML file or the name of a shipped recipe")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that replace the recipe's")
    _add_job(parser)
    _add_answers(parser)


def _add_job(parser: argparse.ArgumentParser) -> None:
    """What is wanted."""
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--devices", type=int, metavar="N", help="of the job; default: the cluster's, or the recipe's")
    size.add_argument(
        "--days", type=float, metavar="D", help="take the fewest devices, of 1, 2, 4, …, that are done in so many days"
    )
    parser.add_argument(
        "--cluster",
        type=Path,
        metavar="FILE",
        help="a rank table (.json) or an inventory (.yaml): which devices share a server and a rack; default: as many "
        "in the order of ranks as the profile says",
    )
    parser.add_argument(
        "--racks",
        type=Path,
        metavar="FILE",
        help="hosts file or YAML inventory with the racks of the servers of --cluster",
    )
    parser.add_argument(
        "--hardware", default="910a", metavar="CHIP", help="a chip's name or the path of a profile; default: 910a"
    )
    parser.add_argument(
        "--memory", metavar="GiB", help="of a device that the program may use, as 30 or 30GiB; default: the profile's"
    )
    batch = parser.add_mutually_exclusive_group()
    batch.add_argument("--batch-size", type=int, metavar="N", help="samples of a step; default: the recipe's")
    batch.add_argument("--tokens-per-step", type=int, metavar="N", help="the same in tokens")
    parser.add_argument("--price", type=float, metavar="DOLLARS", help="of a device and an hour: what the job costs")
    parser.add_argument("--best", type=int, default=5, metavar="N", help="layouts that are shown; default: 5")
    parser.add_argument("--verified", action="store_true", help="only layouts of a class that `pangu verify` executes")
    parser.add_argument(
        "--explain",
        metavar="dp=..,mp=..,pp=..",
        help=f"the account of this layout, operator by operator; words: {', '.join(_SETTINGS)}; what is not named is "
        "as in the recipe",
    )


def _add_answers(parser: argparse.ArgumentParser) -> None:
    """What is answered besides."""
    parser.add_argument("--scaling", action="store_true", help="also half as many devices, twice, and so on to 16,384")
    parser.add_argument(
        "--sensitivity", action="store_true", help="also the winners if compute, links or overlap were better or worse"
    )
    parser.add_argument(
        "--what-if",
        action="store_true",
        help="also the winners with half and twice the devices, batch or rate of links",
    )
    parser.add_argument(
        "--confirm",
        action="store_true",
        help="compile the stages of the best (or explained) layout and hold memory, operations and bytes against them",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="draw the best (or explained) layout's pipeline, an .svg or .png file",
    )
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="draw its step, its memory, the map of all meshes, and with --scaling the curve, in this directory",
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the recipe of the best (or explained) layout")


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu plan ...`."""
    from pangu_alpha.cli.plan_answers import (
        find_scaling,
        print_account,
        print_result,
        print_scaling,
        print_sensitivity,
        print_what_if,
    )
    from pangu_alpha.cli.plan_cluster import print_better_order
    from pangu_alpha.cli.plan_confirm import confirm
    from pangu_alpha.cli.plan_pictures import draw_pictures, draw_pipeline
    from pangu_alpha.cli.plan_recipe import write_recipe
    from pangu_alpha.topology.mesh import Mesh

    job = _job(arguments)
    if arguments.write and arguments.write.exists():
        raise ConfigError(f"{arguments.write} is there already: give another name, nothing is overwritten")
    if arguments.explain:
        Mesh.of(job.recipe.parallel).check_devices(job.num_devices)
        print_account(job)
        config = job.recipe
    else:
        result = job.search(arguments.best)
        print_result(job, result)
        config = result.best[0].config
    if arguments.cluster:
        print_better_order(job.hardware, config, arguments.cluster, arguments.racks)
    if arguments.sensitivity:
        print_sensitivity(job)
    if arguments.what_if:
        print_what_if(job)
    winners = find_scaling(job) if arguments.scaling else []
    if winners:
        print_scaling(job, winners)
    if arguments.output:
        draw_pipeline(config, job.hardware, arguments.output)
    if arguments.pictures:
        draw_pictures(job, config, winners, arguments.pictures)
    if arguments.write:
        write_recipe(arguments.recipe, job.recipe, config, arguments.write)
    if arguments.confirm:
        confirm(config)


def _job(arguments: argparse.Namespace) -> Job:
    """What is asked for.

    Raises:
        ConfigError: something of it cannot be.
    """
    from pangu_alpha.cli.plan_cluster import place
    from pangu_alpha.config import load_config
    from pangu_alpha.planner.hardware import load_hardware
    from pangu_alpha.planner.job import MAX_DEVICES, Job, fewest_devices
    from pangu_alpha.verification.classes import is_executed

    if arguments.explain and arguments.days is not None:
        raise ConfigError(
            "--days searches for a number of devices, and --explain names a layout: leave one of them out"
        )
    settings, asked = list(arguments.overrides), _batch_size(arguments)
    if arguments.explain:
        settings += _layout_settings(arguments.explain)
        settings += [] if asked is None else [f"train.batch_size={asked}"]
    recipe = load_config(arguments.recipe, settings)
    batch_size = recipe.train.batch_size if asked is None else asked
    hardware = load_hardware(arguments.hardware)
    hardware.peak(recipe.model.compute_dtype)  # refuses a type that the chip lacks
    num_devices = recipe.parallel.num_devices if arguments.devices is None else arguments.devices
    if arguments.cluster or arguments.racks:
        hardware, num_devices = place(hardware, arguments)
    for option, number, most in (
        ("--devices", num_devices, MAX_DEVICES),
        ("--batch-size", batch_size, MAX_SAMPLES),
        ("--best", arguments.best, MAX_SHOWN),
    ):
        if not 1 <= number <= most:
            raise ConfigError(f"{option} {number}: give a number from 1 to {most:,}")
    for option, value in (("--days", arguments.days), ("--price", arguments.price)):
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{option} {value:g}: give a number above 0")
    job = Job(recipe, num_devices, hardware, _memory(arguments.memory, hardware), batch_size, arguments.price)
    if arguments.verified:
        job = replace(job, allows=is_executed)
    return job if arguments.days is None else fewest_devices(job, arguments.days)


def _batch_size(arguments: argparse.Namespace) -> int | None:
    """Samples of a step, where they or their tokens are given."""
    from pangu_alpha.config import load_config

    tokens: int | None = arguments.tokens_per_step
    if tokens is None:
        samples: int | None = arguments.batch_size
        return samples
    length = load_config(arguments.recipe, [*arguments.overrides, *_ONE_DEVICE]).model.seq_length
    if tokens < length or tokens % length:
        raise ConfigError(
            f"--tokens-per-step {tokens} ÷ model.seq_length({length}) is not a whole number of samples: give a "
            f"multiple of {length}"
        )
    return tokens // length


def _layout_settings(words: str) -> list[str]:
    """`dp=16,mp=8` as overrides."""
    overrides = []
    for word in words.split(","):
        name, _, value = word.strip().partition("=")
        if name not in _SETTINGS or not value:
            raise ConfigError(f"--explain {words}: {word!r} is none of {', '.join(f'{name}=' for name in _SETTINGS)}")
        overrides.append(f"{_SETTINGS[name]}={value}")
        if name == "chunks":
            overrides.append(f"parallel.schedule={'1f1b' if value == '1' else 'interleaved'}")
    return overrides


def _memory(text: str | None, hardware: Hardware) -> int:
    if text is None:
        return hardware.memory_bytes
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?) ?(?:GiB)?", text)
    if found is None or float(found[1]) <= 0:
        raise ConfigError(f"--memory {text}: give 2³⁰ bytes of a device, as 30 or 30GiB")
    return int(float(found[1]) * 2**30)
