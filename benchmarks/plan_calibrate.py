"""A profile of this cluster's chips for `pangu plan`, measured in minutes: products, memory, each level of links.

One process measures products and memory. Several, started by MindSpore's msrun, also measure the links between them: an
AllGather among every fourth device crosses a server's links alone, among every eighth the network's.

    python benchmarks/plan_calibrate.py --like 910b --dtype bfloat16 --output mine.yaml
    msrun --worker_num 16 --local_worker_num 8 --master_addr HOST --node_rank 0 --join True \\
        benchmarks/plan_calibrate.py --like 910b --output mine.yaml         # on each server, with its own node_rank
    python benchmarks/plan_calibrate.py --device cpu --dtype float32 --output mine.yaml     # a rehearsal

Rank 0 writes the profile. `fused` and `overlap` stay those of the profile it is like: they show in whole steps only
(docs/planner.md).
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path
from typing import get_args

import mindspore as ms
import numpy as np
import yaml
from mindspore import Tensor, nn, ops
from mindspore.communication import GlobalComm, create_group, get_rank, init

from pangu_alpha.command_line import run_program
from pangu_alpha.config.sections import ComputeDtype
from pangu_alpha.errors import ConfigError
from pangu_alpha.files import write_text
from pangu_alpha.planner.calibration import Measured, Timed, calibrated
from pangu_alpha.planner.hardware import Hardware, load_hardware
from pangu_alpha.training.runnable import processes_of

SIZES = {"ascend": (1024, 2048, 4096, 8192), "gpu": (1024, 2048, 4096, 8192), "cpu": (128, 256, 512)}
"""Rows and columns of the products."""
ELEMENTS = {"ascend": (1 << 24, 1 << 27), "gpu": (1 << 24, 1 << 27), "cpu": (1 << 20, 1 << 23)}
"""Of the float32 tensors that are moved, and gathered."""
REPEATS = 20


class Product(nn.Cell):
    """A·B."""

    def construct(self, a: Tensor, b: Tensor) -> Tensor:
        """[n, n] twice → [n, n]."""
        return ops.matmul(a, b)


class Move(nn.Cell):
    """Reads a tensor and writes one."""

    def construct(self, a: Tensor) -> Tensor:
        """[n] → [n]."""
        return ops.neg(a)


class Gather(nn.Cell):
    """An AllGather."""

    def __init__(self, group: str) -> None:
        super().__init__()
        self.gather = ops.AllGather(group)

    def construct(self, a: Tensor) -> Tensor:
        """[n] → [members · n]."""
        return self.gather(a)


def quickest(cell: nn.Cell, *inputs: Tensor) -> float:
    """Seconds of one call: the best of some, after one that compiles. On a CPU a call returns when it is done."""
    wait = ms.runtime.synchronize if ms.get_context("device_target") != "CPU" else lambda: None
    seconds = []
    for _ in range(REPEATS + 1):
        wait()
        start = time.perf_counter()
        cell(*inputs)
        wait()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def products(device: str, dtype: ComputeDtype) -> list[Timed]:
    """Of all sizes."""
    found = []
    for size in SIZES[device]:
        matrix = Tensor(np.random.default_rng(0).standard_normal((size, size), np.float32)).astype(getattr(ms, dtype))
        found.append(Timed(2 * size**3, quickest(Product(), matrix, matrix)))
    return found


def moves(device: str) -> list[Timed]:
    """Of float32 tensors."""
    return [Timed(2 * 4 * number, quickest(Move(), Tensor(np.ones(number, np.float32)))) for number in ELEMENTS[device]]


def gathers(device: str, hardware: Hardware, num_ranks: int) -> dict[str, tuple[int, list[Timed]]]:
    """Of each level of links that the job's ranks cross: among one device of each group of the level before."""
    found, inside = {}, 1
    for link in hardware.links:
        ranks = list(range(0, min(link.devices, num_ranks), inside))
        inside = link.devices
        if len(ranks) < 2:
            continue
        group = GlobalComm.WORLD_COMM_GROUP if len(ranks) == num_ranks else f"every_{ranks[1]}"
        if group != GlobalComm.WORLD_COMM_GROUP:
            create_group(group, ranks)
        if get_rank() in ranks:
            times = [
                Timed(
                    4 * number // len(ranks) * len(ranks),
                    quickest(Gather(group), Tensor(np.ones(number // len(ranks), np.float32))),
                )
                for number in ELEMENTS[device]
            ]
            found[link.name] = len(ranks), times
    return found


def main() -> int:
    """Measure, and let rank 0 write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--like", default="910a", metavar="CHIP", help="the profile whose peaks and levels are taken")
    parser.add_argument("--device", choices=tuple(SIZES), default="ascend")
    parser.add_argument("--dtype", choices=get_args(ComputeDtype), default="float16", help="of the products")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the profile to write")
    arguments = parser.parse_args()
    hardware = load_hardware(arguments.like)
    hardware.peak(arguments.dtype)  # refuses a type that the chip lacks
    if arguments.output.exists():
        raise ConfigError(f"{arguments.output} is there already: give another name, nothing is overwritten")
    measured, rank, num_ranks = measure(hardware, arguments.device, arguments.dtype)
    if rank == 0:
        where = f"benchmarks/plan_calibrate.py, {num_ranks} process(es), {platform.node()}, {time.strftime('%Y-%m-%d')}"
        settings = calibrated(hardware, measured, where).model_dump(mode="json")
        write_text(arguments.output, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
        load_hardware(str(arguments.output))
        print(f"profile in {arguments.output}; `pangu plan RECIPE --hardware {arguments.output}` uses it")
    return 0


def measure(hardware: Hardware, device: str, dtype: ComputeDtype) -> tuple[Measured, int, int]:
    """Everything that this process can measure, its rank, and how many there are."""
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device({"ascend": "Ascend", "gpu": "GPU", "cpu": "CPU"}[device])
    num_ranks, rank = processes_of(os.environ), 0
    links: dict[str, tuple[int, list[Timed]]] = {}
    if num_ranks > 1:
        init()
        rank = get_rank()
        links = gathers(device, hardware, num_ranks)
    return Measured(dtype, products(device, dtype), moves(device), links), rank, num_ranks


if __name__ == "__main__":
    sys.exit(run_program("plan_calibrate", main))
