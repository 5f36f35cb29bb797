"""A tiny network, batches for it, and MindSpore on the CPU."""

from __future__ import annotations

import os

os.environ.setdefault("GLOG_v", "3")

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pangu_alpha.config import RunConfig, build_config
from pangu_alpha.data import Batch
from pangu_alpha.data.batch import make_batch
from pangu_alpha.runtime.device import set_device

PAD, EOD = 0, 1


@pytest.fixture(scope="session", autouse=True)
def cpu() -> None:
    set_device("cpu")


@pytest.fixture(scope="session")
def make_config() -> Callable[..., RunConfig]:
    def make(*overrides: str, **sections: Any) -> RunConfig:
        values: dict[str, Any] = {
            "device": "cpu",
            "model": {"num_layers": 2, "hidden_size": 16, "num_heads": 2, "vocab_size": 40, "seq_length": 8,
                      "final_norm": "after_query_layer", "dropout": 0.0, "compute_dtype": "float32"},
            "train": {"steps": 6, "batch_size": 8},
            "schedule": {"learning_rate": 1e-2, "end_learning_rate": 1e-3, "warmup_steps": 2, "decay_steps": 100},
        }  # fmt: skip
        return build_config({**values, **sections}, overrides)

    return make


@pytest.fixture(scope="session")
def sample_batch() -> Callable[..., Batch]:
    def sample(rows: int = 8, length: int = 8, seed: int = 0) -> Batch:
        """Rows of several documents, with a different amount of padding in each: micro-batches are not alike."""
        rng = np.random.default_rng(seed)
        windows = rng.integers(2, 40, (rows, length + 1), dtype=np.int32)
        windows[:, 3] = EOD
        for row in range(rows):
            windows[row, length + 1 - row % 5 :] = PAD
        return make_batch(windows, rng.integers(0, 2**31 - 1, rows, dtype=np.int32), eod_id=EOD, pad_id=PAD)

    return sample
