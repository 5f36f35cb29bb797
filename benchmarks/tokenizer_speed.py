"""How fast the lossless codec encodes beside the pangu_alpha codec, and how many characters a token each makes.

Every 20th line of the input is held out; the other lines train a lossless tokenizer. Characters a token are those of
the held-out lines, one by one. Speed is that of encoding whole documents on one core, the two codecs in turn, the
median of five rounds.

    python benchmarks/tokenizer_speed.py --input news.txt --released vocab.model
    python benchmarks/tokenizer_speed.py --input corpus/ --released vocab.model --vocab-size 40000
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path

from pangu_alpha.console import say, si
from pangu_alpha.data import read_texts
from pangu_alpha.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

HELD_OUT = 20
NUM_ROUNDS = 5
SPEED_CHARACTERS = 1_000_000


def learn(documents: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train on all but the held-out lines."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer"
        lines = [line for text in documents for line in text.splitlines()]
        rest = ("\n".join(lines[start : start + HELD_OUT][1:]) + "\n" for start in range(0, len(lines), HELD_OUT))
        report = train_tokenizer(rest, path, vocab_size)
        say(
            f"trained {vocab_size:,} pieces on {si(report.num_characters_used)} characters in {report.seconds:.1f} s, "
            f"peak memory {si(report.peak_memory)} bytes"
        )
        return load_tokenizer(path)


def characters_per_token(tokenizer: Tokenizer, documents: Iterable[str]) -> float:
    lines = [line for text in documents for line in text.splitlines()][::HELD_OUT]
    return sum(map(len, lines)) / sum(map(len, tokenizer.encode_batch(lines)))


def first_characters(documents: Iterable[str], limit: int) -> list[str]:
    """The documents up to `limit` characters; the last one is cut."""
    texts = list(documents)
    starts = [0, *accumulate(map(len, texts))]
    return [text[: limit - start] for text, start in zip(texts, starts, strict=False) if start < limit]


def characters_per_second(tokenizers: Sequence[Tokenizer], texts: list[str]) -> list[float]:
    for tokenizer in tokenizers:
        tokenizer.encode(texts[0][:100])  # jieba reads its dictionary at the first use
    num_characters = sum(map(len, texts))
    seconds: list[list[float]] = [[] for _ in tokenizers]
    for _ in range(NUM_ROUNDS):
        for tokenizer, times in zip(tokenizers, seconds, strict=True):
            start = time.perf_counter()
            tokenizer.encode_batch(texts)
            times.append(time.perf_counter() - start)
    return [num_characters / statistics.median(times) for times in seconds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", nargs="+", type=Path, required=True, help=".txt, .jsonl, .jsonl.zst or directories")
    parser.add_argument("--released", type=Path, required=True, help="the released vocab.model")
    parser.add_argument("--vocab-size", type=int, default=16000, help="pieces of the lossless tokenizer")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    documents = list(read_texts(arguments.input))
    tokenizers = [load_tokenizer(arguments.released), learn(documents, arguments.vocab_size)]
    speeds = characters_per_second(tokenizers, first_characters(documents, SPEED_CHARACTERS))
    print(f"{'codec':12} {'pieces':>7} {'characters/token':>17} {'characters/s':>13} {'ratio':>7}")
    for tokenizer, speed in zip(tokenizers, speeds, strict=True):
        ratio = characters_per_token(tokenizer, documents)
        print(f"{tokenizer.codec:12} {tokenizer.vocab_size:7,} {ratio:17.3f} {si(speed):>13} {speed / speeds[0]:6.1f}×")


if __name__ == "__main__":
    main()
