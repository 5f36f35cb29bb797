"""How fast text is generated on a CPU, beside Hugging Face transformers' GPT-2 of the same size.

Both have 4 layers, hidden size 256, 4 heads, 8,192 pieces and 256 positions, and continue prompts of 32 tokens by 200
tokens, greedily, with a key/value cache, in float32, with all cores. They run in turns, each time in a process of its
own, after a warm-up that compiles; the ratio is of the medians. Needs `torch` and `transformers`.

    python benchmarks/generate_cpu.py
    python benchmarks/generate_cpu.py --rounds 5 --batch-sizes 1
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

from pangu_alpha.console import say

LAYERS, HIDDEN, HEADS, VOCAB, CONTEXT = 4, 256, 4, 8192, 256
PROMPT, NEW = 32, 200


class NoText:
    """Stands for a tokenizer: ids in, ids out."""

    pad_id, eod_id, eot_id, vocab_size = 0, 1, 2, VOCAB
    special_ids = {"<pad>": 0, "<eod>": 1, "<eot>": 2}  # noqa: RUF012

    def encode(self, text: str) -> list[int]:
        raise NotImplementedError("the prompts are ids")

    def decode(self, ids: Iterable[int]) -> str:
        return ""

    def piece(self, id_: int) -> str:
        return ""


def ours(batch_size: int) -> Callable[[], int]:
    from pangu_alpha.runtime.device import prepare_environment, set_device

    prepare_environment(verbose=False)
    set_device("cpu")
    from pangu_alpha.config import ModelConfig
    from pangu_alpha.inference import Generator, SamplingOptions
    from pangu_alpha.model import build_network

    config = ModelConfig(
        num_layers=LAYERS,
        hidden_size=HIDDEN,
        num_heads=HEADS,
        vocab_size=VOCAB,
        seq_length=CONTEXT,
        final_norm="after_query_layer",
        compute_dtype="float32",
    )
    network = build_network(config, seed=1).set_train(False)
    generator = Generator(network, config, NoText(), batch_size)  # type: ignore[arg-type]
    prompts = [list(range(3 + row, 3 + row + PROMPT)) for row in range(batch_size)]
    options = SamplingOptions(max_new_tokens=NEW, temperature=0.0)
    return lambda: sum(len(result.tokens) for result in generator.generate(prompts, options))


def transformers(batch_size: int) -> Callable[[], int]:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=VOCAB,
        n_positions=CONTEXT,
        n_embd=HIDDEN,
        n_layer=LAYERS,
        n_head=HEADS,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
    )
    network = GPT2LMHeadModel(config).eval()
    prompts = torch.stack([torch.arange(3 + row, 3 + row + PROMPT) for row in range(batch_size)])
    mask = torch.ones_like(prompts)

    def generate() -> int:
        with torch.inference_mode():
            result = network.generate(prompts, attention_mask=mask, max_new_tokens=NEW, do_sample=False, use_cache=True)
        return int(result.numel() - prompts.numel())

    return generate


def measure(side: str, batch_size: int) -> float:
    """Tokens a second of one timed run, in this process."""
    generate = {"ours": ours, "transformers": transformers}[side](batch_size)
    generate()
    start = time.perf_counter()
    num_tokens = generate()
    if num_tokens != batch_size * NEW:
        raise SystemExit(f"{side}: {num_tokens} tokens instead of {batch_size * NEW}: a continuation has ended early")
    return num_tokens / (time.perf_counter() - start)


def run(side: str, batch_size: int) -> float:
    """`measure` in a process of its own."""
    words = [sys.executable, __file__, "--side", side, "--batch-sizes", str(batch_size)]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--side", choices=("ours", "transformers"), help="measure one side in this process and print")
    arguments = parser.parse_args()
    if arguments.side is not None:
        print(measure(arguments.side, arguments.batch_sizes[0]))
        return
    ratios = []
    for batch_size in arguments.batch_sizes:
        rates: dict[str, list[float]] = {"ours": [], "transformers": []}
        for number in range(arguments.rounds):
            for side, values in rates.items():
                values.append(run(side, batch_size))
            say(f"batch {batch_size}, round {number + 1}: " + ", ".join(f"{s} {v[-1]:.0f}" for s, v in rates.items()))
        medians = {side: statistics.median(values) for side, values in rates.items()}
        ratios.append(medians["ours"] / medians["transformers"])
        print(f"batch {batch_size}: " + ", ".join(f"{side} {rate:.0f} tokens/s" for side, rate in medians.items()))
        print(f"batch {batch_size}: ratio to transformers: {ratios[-1]:.2f}")
    print(f"ratio to transformers: {min(ratios):.2f}")


if __name__ == "__main__":
    main()
