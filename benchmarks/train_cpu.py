"""How fast is training on a CPU, beside the same network in PyTorch eager?

    pip install -r benchmarks/requirements.txt
    python benchmarks/train_cpu.py [--rounds 5] [--steps 12]

The network: 4 layers (the last one a query layer), 256 hidden, 4 heads, sequence 256, vocabulary 8192, batch 8,
float32, AdamW with clipping, several documents a sample, no dropout. The two sides run in alternation, each in a
process of its own with all cores; a round's ratio compares its two medians. Also prints the rate of large matrix
products and what it would allow, that of PyTorch's library, and where our time goes. Ends with the line
`ratio to PyTorch eager: X`, the median over the rounds.

PyTorch eager computes the attention from the same parts as ours, which keep the attention weights (the published
dropout acts on them). PyTorch's fused attention, which cannot be had in MindSpore on a CPU, is a third side.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pangu_alpha.config import RunConfig, build_config, model_flops_per_token, tokens_per_step
from pangu_alpha.data import Batch

WARM_UP = 10


def recipe() -> RunConfig:
    model = {"preset": "tiny", "vocab_size": 8192, "dropout": 0.0}
    schedule = {"learning_rate": 1e-4, "end_learning_rate": 1e-5, "warmup_steps": 0, "decay_steps": 1000}
    return build_config(
        {"device": "cpu", "model": model, "train": {"steps": 1000, "batch_size": 8}, "schedule": schedule,
         "optimizer": {"kind": "adamw"}}
    )  # fmt: skip


def make_batch(config: RunConfig) -> Batch:
    rng = np.random.default_rng(0)
    rows, length = config.train.batch_size, config.model.seq_length
    ids = rng.integers(0, config.model.vocab_size, (rows, length + 1), dtype=np.int32)
    return Batch(
        input_ids=ids[:, :-1].copy(),
        position_ids=np.tile(np.arange(length, dtype=np.int32), (rows, 1)),
        document_ids=np.sort(rng.integers(0, 3, (rows, length), dtype=np.int32), axis=1),
        labels=ids[:, 1:].copy(),
        loss_mask=np.ones((rows, length), np.float32),
        sample_keys=np.zeros(rows, np.int32),
    )


def our_step(config: RunConfig, batch: Batch) -> Callable[[], float]:
    from pangu_alpha.runtime.device import prepare_environment, set_device

    prepare_environment(verbose=False)
    set_device("cpu", fuse_operators=True)
    from pangu_alpha.model import build_network
    from pangu_alpha.training.scalars import update_scalars
    from pangu_alpha.training.step import TrainStep

    step = TrainStep(build_network(config.model, seed=1), config)
    scalars = update_scalars(config.optimizer, 1e-4, num_updates=0)
    num_tokens = int(batch.loss_mask.sum())
    return lambda: step([batch], num_tokens, scalars, loss_scale=1.0).loss


def pytorch_step(config: RunConfig, batch: Batch, fused_attention: bool) -> Callable[[], float]:
    import torch
    from torch import nn
    from torch.nn import functional

    model = config.model
    rows, length, size, heads = config.train.batch_size, model.seq_length, model.hidden_size, model.num_heads

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(size), nn.LayerNorm(size)
            self.q, self.k, self.v, self.out = (nn.Linear(size, size) for _ in range(4))
            self.up, self.down = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)

        def forward(self, x: Any, mask: Any, query: Any = None) -> Any:
            h = self.norm1(x)
            q, k, v = (
                y.view(rows, length, heads, -1).transpose(1, 2)
                for y in (self.q(h if query is None else query), self.k(h), self.v(h))
            )
            if fused_attention:
                attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            else:
                scores = (q @ k.transpose(2, 3) * (size // heads) ** -0.5).masked_fill(~mask, float("-inf"))
                attended = functional.softmax(scores, dim=-1) @ v
            x = x + self.out(attended.transpose(1, 2).reshape(rows, length, size))
            return x + self.down(functional.gelu(self.up(self.norm2(x)), approximate="tanh"))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.word, self.position = nn.Embedding(model.vocab_size, size), nn.Embedding(length, size)
            self.top_query = nn.Embedding(length, size)
            self.layers = nn.ModuleList(Layer() for _ in range(model.num_layers))
            self.norm = nn.LayerNorm(size)
            for parameter in self.parameters():
                if parameter.dim() > 1:
                    nn.init.normal_(parameter, std=0.02)

        def forward(self, ids: Any, positions: Any, documents: Any) -> Any:
            causal = torch.tril(torch.ones(length, length, dtype=torch.bool))
            mask = (documents[:, None, :, None] == documents[:, None, None, :]) & causal
            x = self.word(ids) + self.position(positions)
            for layer in self.layers[:-1]:
                x = layer(x, mask)
            return self.norm(self.layers[-1](x, mask, self.top_query(positions))) @ self.word.weight.T

    network = Network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)
    ids, positions, documents, labels = (
        torch.from_numpy(array) for array in (batch.input_ids, batch.position_ids, batch.document_ids, batch.labels)
    )

    def step() -> float:
        loss = functional.cross_entropy(
            network(ids, positions, documents).view(-1, model.vocab_size), labels.view(-1).long()
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step


def pytorch_matmul_rate() -> float:
    """As `matmul_rate` of `pangu_alpha.runtime.matmul_rate`, of PyTorch's library."""
    import torch

    size = 2048
    matrix = torch.randn(size, size)
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds[1:])


SIDES: dict[str, Callable[[RunConfig, Batch], Callable[[], float]]] = {
    "ours": our_step,
    "PyTorch eager": partial(pytorch_step, fused_attention=False),
    "PyTorch with fused attention": partial(pytorch_step, fused_attention=True),
}


def measure(side: str, num_steps: int) -> dict[str, Any]:
    config = recipe()
    step = SIDES[side](config, make_batch(config))
    first = step()
    for _ in range(WARM_UP):
        step()
    seconds = []
    for _ in range(num_steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return {"first_loss": first, "seconds": statistics.median(seconds)}


def profile() -> dict[str, Any]:
    """Milliseconds a step by kind of operator, and the rate of large matrix products."""
    import csv

    config = recipe()
    step = our_step(config, make_batch(config))
    from mindspore import Profiler, float32
    from mindspore.profiler import ProfilerActivity

    from pangu_alpha.runtime.matmul_rate import matmul_rate

    for _ in range(WARM_UP):
        step()
    with tempfile.TemporaryDirectory() as folder:
        profiler = Profiler(output_path=folder, activities=[ProfilerActivity.CPU], start_profile=True)
        step()
        profiler.stop()
        profiler.analyse()
        (table,) = Path(folder).rglob("cpu_op_type_info_0.csv")
        with table.open(encoding="utf-8") as file:
            times = {row["op_type"]: float(row["total_compute_time"]) for row in csv.DictReader(file)}
    grouped: dict[str, float] = {}
    for name, milliseconds in times.items():
        kind = "fused elementwise" if name.startswith("GraphKernel") else name
        grouped[kind] = grouped.get(kind, 0.0) + milliseconds
    return {"milliseconds": grouped, "matmul_rate": matmul_rate("cpu", float32)}


DETAILS: dict[str, Callable[[], Any]] = {"profile": profile, "PyTorch products": pytorch_matmul_rate}


def in_own_process(*arguments: str) -> Any:
    # Our side changes the environment for its own libraries; the other side must not inherit anything.
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="pairs of runs (default 5)")
    parser.add_argument("--steps", type=int, default=12, help="timed steps a run (default 12)")
    parser.add_argument("--only", choices=(*SIDES, *DETAILS), help="one part, printed as JSON")
    arguments = parser.parse_args()
    if arguments.only:
        detail = DETAILS.get(arguments.only)
        print(json.dumps(detail() if detail else measure(arguments.only, arguments.steps)))
        return
    config = recipe()
    tokens, flops = tokens_per_step(config), model_flops_per_token(config.model) * tokens_per_step(config)
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(arguments.rounds):
        for side in SIDES:
            seconds[side].append(in_own_process("--only", side, "--steps", str(arguments.steps))["seconds"])
        rates = ", ".join(f"{side} {tokens / times[-1]:,.0f}" for side, times in seconds.items())
        print(f"round {number + 1}, tokens/s: {rates}", flush=True)
    ours = seconds.pop("ours")
    details = in_own_process("--only", "profile")
    total = sum(details["milliseconds"].values())
    for name, milliseconds in sorted(details["milliseconds"].items(), key=lambda item: -item[1]):
        if milliseconds > 0.01 * total:
            print(f"{milliseconds:8.1f} ms  {milliseconds / total:4.0%}  {name}")
    rate = details["matmul_rate"]
    print(f"large matrix products: {rate / 1e9:.0f} GFLOP/s; at that rate a step's products take {flops / rate:.3f} s")
    print(f"PyTorch's large matrix products: {in_own_process('--only', 'PyTorch products') / 1e9:.0f} GFLOP/s")
    print(f"our best step: {min(ours):.3f} s, {flops / min(ours) / rate:.0%} of that rate")
    for side, times in reversed(seconds.items()):
        ratio = statistics.median(theirs / own for theirs, own in zip(times, ours, strict=True))
        print(f"ratio to {side}: {ratio:.2f}")


if __name__ == "__main__":
    main()
