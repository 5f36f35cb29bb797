"""A stand-in for the trainer, and a loop that calls callbacks as it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pangu_alpha.checkpoint import Health
from pangu_alpha.config import ParallelConfig, load_config
from pangu_alpha.parallel.parameters import row_of, tensor_names
from pangu_alpha.training.metrics import StepMetrics


def metrics(step: int, loss: float = 3.0, **changes: Any) -> StepMetrics:
    values: dict[str, Any] = {
        "step": step, "loss": loss, "learning_rate": 1e-3, "grad_norm": 1.0, "num_tokens": 2048,
        "first_sample": 8 * step - 8,
        "consumed_samples": 8 * step, "seconds": 0.5, "tokens_per_second": 4096.0, "model_flops_per_second": 1e11,
        "matmul_share": 0.7, "loss_scale": 1.0, "skipped": False, "spike": False,
    }  # fmt: skip
    return StepMetrics(**{**values, **changes})


@pytest.fixture
def trainer(tmp_path: Path) -> Any:
    phases: list[str] = []

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        phases.append(name)
        yield

    train = SimpleNamespace(
        steps=8, validate_every=4, log_every=2, batch_size=8, checkpoint_every=4, checkpoint_minutes=None,
        keep_checkpoints=1, keep_every=None, background_saving=True,
    )  # fmt: skip
    model = load_config(
        "tiny_cpu",
        [
            "model={num_layers: 2, hidden_size: 8, num_heads: 2, vocab_size: 9, seq_length: 4}",
            "model.final_norm=before_query_layer",
        ],
    ).model
    weights = {name: np.zeros(row_of(name).shape(model), np.float32) for name in tensor_names(model)}
    return SimpleNamespace(
        is_main=True,
        config=SimpleNamespace(output=tmp_path, train=train, model=model, parallel=ParallelConfig()),
        progress=SimpleNamespace(step=0),
        mean_loss=lambda data: 2.5,
        measured={},
        phase=phase,
        phases=phases,
        weights=weights,
        values={0: lambda boxes: (weights[name] for name in boxes)},
        shapes={name: value.shape for name, value in weights.items()},
        state=lambda: {"progress": 1},
        health=lambda metrics: Health(metrics.loss, metrics.grad_norm, is_spike=metrics.loss > 8),
        attempt="a0",
        damaged=set(),
        last_spikes=[],
        workers=SimpleNamespace(largest=int),
        require_equal_copies=lambda: None,
    )


def run(trainer: Any, steps: range, *callbacks: Any, record: Callable[[int], StepMetrics] = metrics) -> None:
    for callback in callbacks:
        callback.on_start(trainer)
    for step in steps:
        trainer.progress.step, trainer.measured = step, {}
        for callback in callbacks:
            callback.on_step(trainer, record(step))
    for callback in callbacks:
        callback.on_end(trainer)
        callback.close()
