"""How long is a step on the emulator, beside MindSpore's own step of one process?

    python benchmarks/emulator.py [--rounds 5]

The network and the batches are those of `pangu verify` (4 layers, 32 hidden, sequence 16, batch 8, float32). The
emulator runs it as one rank and as the 8 ranks of dp 2 × mp 2 × pp 2 with 4 micro-batches, all in this process.
Programs that are not kept from before are compiled first; that is not counted. A round is 5 steps of each side, one
side after the other; the first round warms up. Ends with the lines `ratio to MindSpore's step, 1 rank: X` and
`..., 8 ranks: X`, the medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time

from pangu_alpha.config import ParallelConfig
from pangu_alpha.runtime.device import prepare_environment, set_device
from pangu_alpha.verification.cases import Case, batches


def rounds(num_rounds: int) -> dict[str, list[float]]:
    """Seconds of the 5 steps by side, one number a round."""
    prepare_environment(verbose=False)
    set_device("cpu", fuse_operators=True)
    from pangu_alpha.emulator.step import emulated_step
    from pangu_alpha.model import build_network
    from pangu_alpha.training.backend import Step, reader
    from pangu_alpha.training.replica import ProcessStep
    from pangu_alpha.training.scalars import update_scalars

    case = Case(ParallelConfig(dp=2, mp=2, pp=2))
    alone = case.reference("float32")
    alone_step = ProcessStep(build_network(alone.model, seed=1), alone)
    steps: dict[str, Step] = {
        "MindSpore": alone_step,
        "1 rank": emulated_step(alone),
        "8 ranks": emulated_step(case.config("float32")),
    }
    for step in steps.values():
        step.load(reader(alone_step.tensors()))
    scalars = update_scalars(alone.optimizer, 1e-3, 0)

    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(num_rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            for batch in batches():
                step(batch, int(batch.loss_mask.sum()), scalars, 1.0)
            seconds[name].append(time.perf_counter() - start)
    return {name: times[1:] for name, times in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="of 5 steps a side (default 5)")
    seconds = rounds(parser.parse_args().rounds)
    for name, times in seconds.items():
        print(f"{name:10} 5 steps in {statistics.median(times):.3f} s, between {min(times):.3f} and {max(times):.3f}")
    base = seconds.pop("MindSpore")
    for name, times in seconds.items():
        ratio = statistics.median(own / other for own, other in zip(times, base, strict=True))
        print(f"ratio to MindSpore's step, {name}: {ratio:.1f}")


if __name__ == "__main__":
    main()
