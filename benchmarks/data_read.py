"""How fast shuffled training samples are read, beside a plain sequential copy of the same file.

Writes a token file of random ids in a temporary directory, then reads it three ways in one process:
`copy` (numpy copies the memory-mapped file from front to back, as int32), `windows` (shuffled samples of S + 1 ids) and
`batch` (complete batches, with positions, document ids and masks). Prints tokens a second and the ratio to `copy`.

    python benchmarks/data_read.py
    python benchmarks/data_read.py --tokens 1000000000 --batch-size 256
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from pangu_alpha.console import say, si
from pangu_alpha.data import TokenFile, open_token_file
from pangu_alpha.data.dataset import TrainingData
from pangu_alpha.data.packing import TokenWriter

SEQ_LENGTH = 1024
DOCUMENT = 1000


class RandomIds:
    """Stands for a tokenizer of the paper's size."""

    codec, fingerprint = "random", "random"
    vocab_size, pad_id, eod_id = 40000, 0, 1

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        raise NotImplementedError("ids are written directly")


def write_tokens(prefix: Path, num_tokens: int) -> TokenFile:
    generator = np.random.default_rng(1)
    with TokenWriter(prefix, RandomIds()) as writer:
        for _ in range(num_tokens // (1000 * DOCUMENT)):
            writer.add(list(generator.integers(2, RandomIds.vocab_size, (1000, DOCUMENT - 1))))
        writer.finish()
    return open_token_file(prefix)


def copy(file: TokenFile) -> int:
    block = np.empty(1 << 16, np.int32)
    num_tokens = len(file.tokens) // len(block) * len(block)
    for start in range(0, num_tokens, len(block)):
        block[:] = file.tokens[start : start + len(block)]
    return num_tokens


def read(data: TrainingData, steps: Iterable[int], complete: bool) -> int:
    num_tokens = 0
    for step in steps:
        if complete:
            num_tokens += data.batch(step).input_ids.size
        else:
            numbers = step * data.batch_size + np.arange(data.batch_size)
            num_tokens += data.windows(numbers).size
    return num_tokens


def tokens_per_second(work: Callable[[], int]) -> float:
    start = time.perf_counter()
    num_tokens = work()
    return num_tokens / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=200_000_000, help="size of the token file (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, help="samples of a batch (default: %(default)s)")
    parser.add_argument(
        "--repeats", type=int, default=5, help="runs of each kind; the median counts (default: %(default)s)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        say(f"writing {si(arguments.tokens)} tokens")
        file = write_tokens(Path(folder) / "tokens", arguments.tokens)
        data = TrainingData([file], [1.0], seq_length=SEQ_LENGTH, batch_size=arguments.batch_size, seed=1)
        steps = range(data.num_samples[0] // arguments.batch_size)
        kinds: dict[str, Callable[[], int]] = {
            "copy": lambda: copy(file),
            "windows": lambda: read(data, steps, complete=False),
            "batch": lambda: read(data, steps, complete=True),
        }
        speeds: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(arguments.repeats):  # Taken in turn, so that a busy moment of the machine hits all kinds.
            for kind, work in kinds.items():
                speeds[kind].append(tokens_per_second(work))
    base = statistics.median(speeds["copy"])
    for kind, values in speeds.items():
        speed = statistics.median(values)
        print(f"{kind:8} {speed / 1e6:7.0f} Mtokens/s  (worst {min(values) / 1e6:.0f})  {speed / base:.2f} of copy")


if __name__ == "__main__":
    main()
