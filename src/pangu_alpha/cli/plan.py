"""`pangu plan`: the fastest layouts of a recipe on so many devices, where their time goes, and why others are not."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.console import progress, say, si
from pangu_alpha.errors import ConfigError

if TYPE_CHECKING:
    from pangu_alpha.config import RunConfig
    from pangu_alpha.planner.hardware import Hardware
    from pangu_alpha.planner.search import Found, Result

_SETTINGS = {
    "dp": "parallel.dp",
    "mp": "parallel.mp",
    "pp": "parallel.pp",
    "micro": "train.num_micro_batches",
    "chunks": "parallel.num_chunks",
    "remat": "parallel.rematerialisation",
    "seq": "parallel.sequence_parallel",
    "shard": "parallel.optimizer_sharding",
}
"""Words of --explain, and the settings that they stand for."""
MAX_DEVICES, MAX_SAMPLES, MAX_SHOWN = 16_384, 1 << 20, 1000
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
        "  pangu plan 200b_2048 --devices 2048 --scaling --sensitivity\n"
        "  pangu plan 13b --devices 64 --hardware my_chip.yaml --write my.yaml\n"
        f"chips: {', '.join(list_hardware())}"
    )
    parser.add_argument("recipe", help="a YAML file or the name of a shipped recipe")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that replace the recipe's")
    parser.add_argument("--devices", type=int, metavar="N", help="of the job; default: the recipe's")
    parser.add_argument(
        "--hardware", default="910a", metavar="CHIP", help="a chip's name or the path of a profile; default: 910a"
    )
    parser.add_argument(
        "--memory", metavar="GiB", help="of a device that the program may use, as 30 or 30GiB; default: the profile's"
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="samples of a step; default: the recipe's")
    parser.add_argument("--best", type=int, default=5, metavar="N", help="layouts that are shown; default: 5")
    parser.add_argument(
        "--explain",
        metavar="dp=..,mp=..,pp=..",
        help=f"the account of this layout, operator by operator; words: {', '.join(_SETTINGS)}; what is not named is "
        "as in the recipe",
    )
    parser.add_argument("--scaling", action="store_true", help="also half as many devices, twice, and so on to 16,384")
    parser.add_argument(
        "--sensitivity", action="store_true", help="also the winners if compute or links were 20 %% better or worse"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="draw the best (or explained) layout's pipeline, an .svg or .png file",
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the best layout's recipe")


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu plan ...`."""
    from pangu_alpha.cli.plan_recipe import write_recipe
    from pangu_alpha.config import load_config
    from pangu_alpha.planner.hardware import load_hardware
    from pangu_alpha.topology.mesh import Mesh

    overrides = list(arguments.overrides)
    if arguments.explain:
        overrides += _layout_settings(arguments.explain)
        overrides += [] if arguments.batch_size is None else [f"train.batch_size={arguments.batch_size}"]
    recipe = load_config(arguments.recipe, overrides)
    hardware = load_hardware(arguments.hardware)
    hardware.peak(recipe.model.compute_dtype)  # refuses a type that the chip lacks
    batch_size = recipe.train.batch_size if arguments.batch_size is None else arguments.batch_size
    num_devices = recipe.parallel.num_devices if arguments.devices is None else arguments.devices
    for option, number, most in (
        ("--devices", num_devices, MAX_DEVICES),
        ("--batch-size", batch_size, MAX_SAMPLES),
        ("--best", arguments.best, MAX_SHOWN),
    ):
        if not 1 <= number <= most:
            raise ConfigError(f"{option} {number}: give a number from 1 to {most:,}")
    job = Job(recipe, num_devices, hardware, _memory(arguments.memory, hardware), batch_size)
    if arguments.explain:
        Mesh.of(recipe.parallel).check_devices(num_devices)
        _explain(job)
        if arguments.output:
            _draw(recipe, hardware, arguments.output)
        return
    if arguments.write and arguments.write.exists():
        raise ConfigError(f"{arguments.write} is there already: give another name, nothing is overwritten")
    result = job.search(arguments.best)
    _print_result(job, result)
    if arguments.sensitivity:
        _print_sensitivity(job)
    if arguments.scaling:
        _print_scaling(job)
    if arguments.output:
        _draw(result.best[0].config, hardware, arguments.output)
    if arguments.write:
        write_recipe(arguments.recipe, recipe, result.best[0], arguments.write)


@dataclass(frozen=True)
class Job:
    """What a layout is wanted for."""

    recipe: RunConfig
    num_devices: int
    hardware: Hardware
    memory_bytes: int
    """Of a device, for the program."""
    batch_size: int

    def search(self, num_best: int) -> Result:
        """The `num_best` fastest layouts."""
        from pangu_alpha.planner.search import Search
        from pangu_alpha.planner.space import meshes

        search = Search(self.recipe, self.num_devices, self.hardware, self.memory_bytes, self.batch_size, num_best)
        with progress("searching", len(list(meshes(self.num_devices))), "meshes") as advance:
            return search.run(advance)

    def __str__(self) -> str:
        length = self.recipe.model.seq_length
        return (
            f"{self.batch_size} samples of {length} tokens a step = {si(self.batch_size * length)} tokens, on "
            f"{self.num_devices:,} × {self.hardware.name}, {self.memory_bytes / 2**30:.1f} GiB of each for the program"
        )


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


def _print_result(job: Job, result: Result) -> None:
    from pangu_alpha.planner import report
    from pangu_alpha.planner.peak import stage_peaks

    print(f"{job}\n")
    refused = "\n".join(report.describe_refused(result, job.memory_bytes))
    if not result.best:
        print(refused)
        raise ConfigError(
            f"no layout on {job.num_devices:,} devices: see the counts above. Give more devices, another batch or a "
            "chip with more memory"
        )
    best, num_steps = result.best[0], job.recipe.train.steps
    print("\n".join(report.describe_layouts(result.best, num_steps)))
    _print_own(job, best)
    print("\nwhere the time of 1 goes, on the stage that computes most")
    print("\n".join(report.describe_time(best.account)))
    print(f"\nmemory of 1 on stage {best.fullest}, the fullest")
    print("\n".join(report.describe_memory(stage_peaks(best.config)[best.fullest])))
    print("\nless memory for more time, the fastest of each")
    print("\n".join(report.describe_front(result)))
    print(f"\nwhy the others are not\n{refused}")


def _print_own(job: Job, best: Found) -> None:
    """The recipe's own layout beside the best one, where it is one of this job."""
    from pangu_alpha.planner.report import describe_layouts
    from pangu_alpha.planner.search import found_of

    recipe = job.recipe
    if (recipe.parallel.num_devices, recipe.train.batch_size) != (job.num_devices, job.batch_size):
        return
    own = found_of(recipe, job.hardware)
    (line,) = describe_layouts([own], recipe.train.steps, marks=["="])[1:]
    fits = "" if own.num_bytes <= job.memory_bytes else ", and does not fit"
    times = own.account.seconds / best.account.seconds
    print(f"{line}\n    = the recipe's own layout: {times:.2f} × the best one's time{fits}")


def _explain(job: Job) -> None:
    from pangu_alpha.planner import report
    from pangu_alpha.planner.peak import stage_peaks
    from pangu_alpha.planner.search import found_of, single_changes
    from pangu_alpha.planner.step import price_recipe

    recipe, hardware = job.recipe, job.hardware
    found = found_of(recipe, hardware)
    print(f"{job}\n")
    print("\n".join(report.describe_layouts([found], recipe.train.steps, marks=["="])))
    print("\nwhere the time goes, on the stage that computes most")
    print("\n".join(report.describe_time(found.account)))
    print(f"\nmemory of stage {found.fullest}, the fullest")
    print("\n".join(report.describe_memory(stage_peaks(recipe)[found.fullest])))
    if found.num_bytes > job.memory_bytes:
        print(f"  does not fit: {(found.num_bytes - job.memory_bytes) / 2**30:.2f} GiB too much")
    print("\noperators of one micro-batch on one device")
    print("\n".join(report.describe_operators(price_recipe(recipe, hardware))))
    changes = [item for item in single_changes(recipe, hardware) if item.num_bytes <= job.memory_bytes]
    print("\none change at a time, of those that fit, the fastest first")
    print("\n".join(report.describe_layouts(changes[:5], recipe.train.steps)))


def _print_sensitivity(job: Job) -> None:
    from pangu_alpha.planner.hardware import varied
    from pangu_alpha.planner.report import describe_layouts

    print("\nthe winner if the chip were another")
    marks, winners = [], []
    for mark, compute, links in (("C+", 1.2, 1.0), ("C-", 0.8, 1.0), ("L+", 1.0, 1.2), ("L-", 1.0, 0.8)):
        marks.append(mark)
        winners += replace(job, hardware=varied(job.hardware, compute, links)).search(1).best
    print("\n".join(describe_layouts(winners, job.recipe.train.steps, marks)))
    print("C: compute and memory of the device, L: links; + 20 % faster, - 20 % slower")


def _print_scaling(job: Job) -> None:
    from pangu_alpha.planner.report import describe_layouts

    print("\nthe same batch on other numbers of devices")
    number = job.num_devices if job.num_devices % 2 else job.num_devices // 2
    numbers, winners = [], []
    while number <= MAX_DEVICES:
        if found := replace(job, num_devices=number).search(1).best:
            numbers.append(number)
            winners += found
        else:
            say(f"{number:,} devices: no layout fits")
        number *= 2
    print("\n".join(describe_layouts(winners, job.recipe.train.steps, [""] * len(winners))))
    rates = [item.account.tokens_per_second / number for number, item in zip(numbers, winners, strict=True)]
    for number, rate in zip(numbers, rates, strict=True):
        print(f"  {number:>6,} devices: {rate:,.1f} tokens/s each, {rate / rates[0]:.0%}")


def _draw(config: RunConfig, hardware: Hardware, path: Path) -> None:
    """A layout's pipeline as it is executed."""
    from pangu_alpha.planner.step import account, price_recipe
    from pangu_alpha.planner.timeline import spans
    from pangu_alpha.topology.pictures import draw_schedule, save_figure
    from pangu_alpha.topology.schedule import Timeline

    parallel, num = config.parallel, config.train.num_micro_batches
    if parallel.pp == 1:
        raise ConfigError(f"--output {path}: this layout has one stage, and no pipeline to draw; leave it out")
    priced = price_recipe(config, hardware)
    found = account(priced)
    title = (
        f"{num} micro-batches on {parallel.pp} stages of {hardware.name}: {found.pipeline_seconds:.2f} s of the step's "
        f"{found.seconds:.2f} s, of which stages wait {found.bubble:.1%}"
    )
    timeline = Timeline(parallel.pp, tuple(spans(parallel, num, priced.times)))
    save_figure(draw_schedule(timeline, title, "seconds; a number is a micro-batch"), path)
    print(f"\npicture in {path}")
