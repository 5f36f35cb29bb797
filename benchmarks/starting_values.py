"""How long a rank draws the starting values of its slices, and in how much memory, without the rest of any tensor.

Prints seconds, what the rank holds, the process's peak, and the ratio of the time to its limit: 10 s for a rank in the
middle of the 200B network on 2048 devices.

    python benchmarks/starting_values.py
    python benchmarks/starting_values.py 200b_1024 --rank 512
"""

from __future__ import annotations

import argparse
import resource
import time

from pangu_alpha.config import load_config
from pangu_alpha.parallel.parts import held_tensors, without_padding
from pangu_alpha.parallel.start import starting_values

LIMIT = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], epilog="example:\n  python benchmarks/starting_values.py --rank 1000",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("recipe", nargs="?", default="200b_2048", help="a YAML file or the name of a shipped recipe")
    parser.add_argument("--rank", type=int, default=1000, metavar="N", help="default: 1000, of a middle stage")
    arguments = parser.parse_args()
    config = load_config(arguments.recipe)
    read = starting_values(config)
    begin, num_bytes = time.perf_counter(), 0
    for name, held in held_tensors(config.model, config.parallel, arguments.rank).items():
        num_bytes += read(name, without_padding(name, held, config.model)).nbytes
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{arguments.recipe}, rank {arguments.rank}: {num_bytes / 2**30:.2f} GiB in {seconds:.1f} s")
    print(f"peak of the process: {peak:.2f} GiB")
    print(f"ratio to {LIMIT:.0f} s: {seconds / LIMIT:.2f}")


if __name__ == "__main__":
    main()
