"""The job that a command line of `pangu plan` asks for."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pangu_alpha.errors import ConfigError

if TYPE_CHECKING:
    from pangu_alpha.config import RunConfig
    from pangu_alpha.planner.hardware import Hardware
    from pangu_alpha.planner.job import Job

WORDS = {
    "dp": "parallel.dp",
    "mp": "parallel.mp",
    "pp": "parallel.pp",
    "micro": "train.num_micro_batches",
    "chunks": "parallel.num_chunks",
    "remat": "parallel.rematerialisation",
    "seq": "parallel.sequence_parallel",
    "shard": "parallel.optimizer_sharding",
}
"""Of --explain, and the settings that they stand for."""
_EXAMPLES = {"remat": "whole", "seq": "yes", "shard": "yes"}
"""Values of those that are no numbers."""
_ONE_STAGE = ("parallel.num_chunks=1", "parallel.schedule=1f1b", "parallel.rematerialised_stages=null")
_ONE_DEVICE = (
    *(f"parallel.{axis}=1" for axis in ("dp", "mp", "pp")),
    *("parallel.sequence_parallel=false", "train.num_micro_batches=1", *_ONE_STAGE),
)
"""A layout that takes every batch: to read a recipe whose own does not take the one that is asked for."""
MAX_SAMPLES, MAX_SHOWN = 1 << 16, 1000
"""Of a search: larger ones would not come to an end."""


def asked_job(arguments: argparse.Namespace) -> Job:
    """What is asked for.

    Raises:
        ConfigError: something of it cannot be.
    """
    from pangu_alpha.cli.plan_cluster import place
    from pangu_alpha.config import load_config, tokens_per_step
    from pangu_alpha.planner.hardware import load_hardware
    from pangu_alpha.planner.job import MAX_DEVICES, Job, fewest_devices
    from pangu_alpha.topology.mesh import Mesh
    from pangu_alpha.verification.classes import is_executed

    if arguments.explain is not None and arguments.days is not None:
        raise ConfigError(
            "--days searches for a number of devices, and --explain names a layout: leave one of them out"
        )
    on_one = load_config(arguments.recipe, [*arguments.overrides, *_ONE_DEVICE])
    batch_size = _batch_size(arguments, on_one)
    hardware = load_hardware(arguments.hardware)
    hardware.peak(on_one.model.compute_dtype)  # refuses a type that the chip lacks
    if arguments.explain is None:
        recipe = load_config(arguments.recipe, arguments.overrides)
    else:
        recipe = _explained(arguments, batch_size)
    num_devices = recipe.parallel.num_devices if arguments.devices is None else arguments.devices
    if arguments.cluster or arguments.racks:
        hardware, num_devices = place(hardware, arguments)
    for option, number, most in (("--devices", num_devices, MAX_DEVICES), ("--best", arguments.best, MAX_SHOWN)):
        _check_number(option, number, most)
    for option, value in (("--days", arguments.days), ("--price", arguments.price)):
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{option} {value:g}: give a number above 0")
    if arguments.explain is not None:
        Mesh.of(recipe.parallel).check_devices(num_devices)
    num_tokens = on_one.train.steps * tokens_per_step(on_one)
    memory = _memory(arguments.memory, hardware)
    job = Job(recipe, num_devices, hardware, memory, batch_size, num_tokens, arguments.price)
    if arguments.verified:
        job = replace(job, allows=is_executed)
    return job if arguments.days is None else fewest_devices(job, arguments.days)


def _check_number(option: str, number: int, most: int) -> None:
    if not 1 <= number <= most:
        raise ConfigError(f"{option} {number}: give a number from 1 to {most:,}")


def _batch_size(arguments: argparse.Namespace, recipe: RunConfig) -> int:
    """Samples of a step: as given, in tokens or in samples, or the recipe's."""
    tokens: int | None = arguments.tokens_per_step
    samples: int = recipe.train.batch_size if arguments.batch_size is None else arguments.batch_size
    if tokens is not None:
        length = recipe.model.seq_length
        if tokens < length or tokens % length:
            raise ConfigError(
                f"--tokens-per-step {tokens} ÷ model.seq_length({length}) is not a whole number of samples: give a "
                f"multiple of {length}"
            )
        samples = tokens // length
    _check_number("--batch-size", samples, MAX_SAMPLES)
    return samples


def _explained(arguments: argparse.Namespace, batch_size: int) -> RunConfig:
    """The recipe in the layout that --explain names."""
    from pangu_alpha.config import load_config

    settings = [*arguments.overrides, *_layout_settings(arguments.explain), f"train.batch_size={batch_size}"]
    try:
        return load_config(arguments.recipe, settings)
    except ConfigError as error:  # not of the file, which has been read
        problems = str(error).partition(":\n")[2] or str(error)
        raise ConfigError(f"--explain {arguments.explain}:\n{problems}") from error


def _layout_settings(words: str) -> list[str]:
    """`dp=16,remat=whole:2` as overrides."""
    values: dict[str, str] = {}
    for word in words.split(","):
        name, _, value = (part.strip() for part in word.partition("="))
        if name not in WORDS:
            raise ConfigError(f"--explain {words}: {word!r} is none of {', '.join(f'{name}=' for name in WORDS)}")
        if not value:
            raise ConfigError(f"--explain {words}: {word!r} has no value, as in {name}={_EXAMPLES.get(name, 2)}")
        if name in values:
            raise ConfigError(f"--explain {words}: {name} is there twice")
        values[name] = value
    overrides: list[str] = []
    if values.get("pp") == "1":
        overrides += _ONE_STAGE
    if "remat" in values:
        values["remat"], _, stages = values["remat"].partition(":")
        overrides.append(f"parallel.rematerialised_stages={stages or 'null'}")
    if "chunks" in values:
        overrides.append(f"parallel.schedule={'1f1b' if values['chunks'] == '1' else 'interleaved'}")
    return overrides + [f"{WORDS[name]}={value}" for name, value in values.items()]


def _memory(text: str | None, hardware: Hardware) -> int:
    if text is None:
        return hardware.memory_bytes
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?) ?(?:GiB)?", text)
    if found is None or float(found[1]) <= 0:
        raise ConfigError(f"--memory {text}: give 2³⁰ bytes of a device, as 30 or 30GiB")
    return int(float(found[1]) * 2**30)
