"""`pangu plan`: the fastest layouts of a recipe on so many devices, where their time goes, and why others are not."""

from __future__ import annotations

import argparse
from pathlib import Path


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
    from pangu_alpha.cli.plan_job import WORDS

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
        help="the account of this layout, operator by operator, and what one change would give; words: "
        f"{', '.join(WORDS)} (remat=whole:2: on the first two stages alone); what is not named is as in the recipe",
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
    from pangu_alpha.cli.plan_job import asked_job
    from pangu_alpha.cli.plan_pictures import check_pictures, draw_pictures, draw_pipeline
    from pangu_alpha.cli.plan_recipe import check_new, write_recipe

    check_pictures(arguments.output, arguments.pictures)
    if arguments.write:
        check_new(arguments.write)
    job = asked_job(arguments)
    if arguments.explain is not None:
        print_account(job, arguments.best)
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
    if arguments.write:
        write_recipe(arguments.recipe, job, config, arguments.write)
    if arguments.output:
        draw_pipeline(config, job.hardware, arguments.output)
    if arguments.pictures:
        draw_pictures(job, config, winners, arguments.pictures)
    if arguments.confirm:
        confirm(config)
