"""What lies on a rank's device when it is fullest, allocation by allocation, from MindSpore's own record of them.

Compiles the rank as `pangu compile` does at simulation level 1, with MindSpore's tracker of memory on, and prints the
largest blocks of that moment: bytes, kind, the events between which they live, the operator that made them. This is
how the account in `planner/activations.py` and `planner/peak.py` was found.

    python benchmarks/peak_allocations.py 2b6 model.num_layers=4 parallel.dp=2 parallel.mp=4 train.batch_size=4
    python benchmarks/peak_allocations.py 13b model.num_layers=4 --rank 7 --rows 60
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pangu_alpha.compiler.server import CompileJob, compile_rank
from pangu_alpha.compiler.standin import simulated_environment, soc_for
from pangu_alpha.config.load import load_config
from pangu_alpha.errors import PanguError
from pangu_alpha.topology.mesh import Mesh

_RECORDS = "PANGU_ALPHA_RECORDS_ALLOCATIONS"
"""The environment variable that tells the compiling process that it is one."""
_TRACKER = "_ZZN9mindspore6device7tracker20MemoryTrackerEnabled11getInstanceEvE8instance"
_DUMP = "_ZN9mindspore6device7tracker20MemoryTrackerEnabled4DumpEm"


@dataclass(frozen=True)
class Block:
    """One allocation."""

    begin: int
    end: int
    """Of its life, in MindSpore's count of events."""
    num_bytes: int
    kind: str
    name: str


def record(rank: int, recipe: str, overrides: list[str]) -> None:
    """Compile the rank that the environment names and write the record below the working directory."""
    folder = Path.cwd()
    config = load_config(recipe, overrides)
    compile_rank(
        CompileJob(rank, config, plans_memory=True, with_validation=False, folder=folder, log=folder / "log.txt")
    )
    # A simulated step that ends well leaves no record by itself: MindSpore's own function is called.
    lines = Path("/proc/self/maps").read_text().splitlines()
    library = ctypes.CDLL(next(line.split()[-1] for line in lines if "libmindspore_memory_pool" in line))
    dump = library[_DUMP]
    dump.argtypes, dump.restype = [ctypes.c_void_p, ctypes.c_ulong], None
    dump(ctypes.addressof(ctypes.c_char.in_dll(library, _TRACKER)), 0)
    sys.stdout.flush()
    os._exit(0)


def blocks(path: Path) -> list[Block]:
    """All allocations of a record."""
    with path.open(newline="") as file:
        return [
            Block(
                int(row["start_time_stamp"]),
                int(row["end_time_stamp"]),
                int(row["size"]),
                row["type"],
                row["node_name"].removeprefix("Gradients/").removeprefix("recompute_").removeprefix("Default/"),
            )
            for row in csv.DictReader(file)
        ]


def fullest(found: list[Block]) -> int:
    """The first event after which the device holds the most."""
    changes = sorted([(block.end, 0, -block.num_bytes) for block in found] + [(b.begin, 1, b.num_bytes) for b in found])
    most = held = at = 0
    for event, _, change in changes:
        held += change
        if held > most:
            most, at = held, event
    return at


def main() -> None:
    """Record, or print the fullest moment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="a YAML file or the name of a shipped recipe")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that replace the recipe's")
    parser.add_argument("--rank", type=int, default=0, metavar="R", help="default: 0")
    parser.add_argument("--rows", type=int, default=40, metavar="N", help="blocks to print; default: 40")
    arguments = parser.parse_intermixed_args()
    if _RECORDS in os.environ:
        record(arguments.rank, arguments.recipe, arguments.overrides)
    try:
        config = load_config(arguments.recipe, arguments.overrides)
        Mesh.of(config.parallel).place(arguments.rank)  # refuses a rank that is not there
    except PanguError as error:
        sys.exit(str(error))
    if config.parallel.num_devices == 1 or arguments.rows < 0:
        sys.exit("give a recipe of more than one rank, and --rows from 0")
    recipe = Path(arguments.recipe)
    words = [str(recipe.resolve()) if recipe.exists() else arguments.recipe, *arguments.overrides]
    with tempfile.TemporaryDirectory() as folder:
        soc = soc_for(config.model.compute_dtype)
        environment = simulated_environment(arguments.rank, config.parallel.num_devices, 1, soc) | {
            "GLOG_v": "4",
            "OMP_NUM_THREADS": "1",
            "MS_ALLOC_CONF": f"memory_tracker:True,memory_tracker_path:{folder}",
            _RECORDS: "1",
        }
        command = [sys.executable, str(Path(__file__).resolve()), *words, "--rank", str(arguments.rank)]
        log = Path(folder) / "log.txt"
        with log.open("w") as output:
            ended = subprocess.run(command, check=False, env=environment, cwd=folder, stdout=output, stderr=output)
        files = list(Path(folder).glob("rank_*/memory_block.csv"))
        if ended.returncode or not files:
            sys.exit(f"{log.read_text()[-3000:]}\nthe rank could not be compiled (exit code {ended.returncode})")
        found = blocks(files[0])
    at = fullest(found)
    alive = sorted((block for block in found if block.begin <= at < block.end), key=lambda block: -block.num_bytes)
    print(f"{sum(block.num_bytes for block in alive):,} bytes in {len(alive)} blocks at event {at}")
    for block in alive[: arguments.rows]:
        last = block.end if block.end < 1 << 62 else "end"
        print(f"{block.num_bytes:>14,}  {block.kind:<13} {block.begin:>7} to {last!s:<7} {block.name[-90:]}")
    rest = alive[arguments.rows :]
    print(f"{sum(block.num_bytes for block in rest):>14,}  in {len(rest)} smaller blocks")


if __name__ == "__main__":
    main()
