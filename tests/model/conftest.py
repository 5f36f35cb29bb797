"""Small networks with weights large enough to show mistakes, and the float64 reference they are compared with."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("GLOG_v", "3")  # before MindSpore is imported

import numpy as np
import pytest
from numpy.typing import NDArray

from pangu_alpha.config import ModelConfig
from pangu_alpha.data.batch import Batch, make_batch
from pangu_alpha.runtime.device import set_device

PAD, EOD = 0, 1
TEXT = "子曰學而時習之不亦說乎有朋自遠方來人知慍君矣"
IDS = {character: number for number, character in enumerate(dict.fromkeys(TEXT), start=2)}
SEQ_LENGTH = 12

SAMPLES = [
    ["子曰學而", "時習之不亦", "有朋自"],
    ["人不知而不慍不亦君子乎矣"],  # fills the sample
    ["說", "", "不亦君子乎"],  # a document of one token, an empty one, and padding after the last
]


def window(documents: list[str]) -> NDArray[np.int32]:
    """int32 [S + 1]: the documents, each with its end, cut or padded."""
    ids = [number for text in documents for number in [*(IDS[character] for character in text), EOD]]
    return np.array((ids + [PAD] * SEQ_LENGTH)[: SEQ_LENGTH + 1], np.int32)


@pytest.fixture(scope="session", autouse=True)
def cpu_graph_mode() -> None:
    set_device("cpu")


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """`reference.py` beside this file (tests are no package, so it cannot be imported by name)."""
    spec = importlib.util.spec_from_file_location("numpy_reference", Path(__file__).with_name("reference.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_config() -> Callable[..., ModelConfig]:
    def make(**changes: Any) -> ModelConfig:
        sizes = {
            "num_layers": 3,
            "hidden_size": 16,
            "num_heads": 4,
            "vocab_size": 2 + len(IDS),
            "seq_length": SEQ_LENGTH,
        }
        rest = {"final_norm": "before_query_layer", "dropout": 0.0, "compute_dtype": "float32"}
        return ModelConfig(**{**sizes, **rest, **changes})

    return make


@pytest.fixture(scope="session")
def make_window() -> Callable[[list[str]], NDArray[np.int32]]:
    return window


@pytest.fixture(scope="session")
def windows() -> NDArray[np.int32]:
    """int32 [3, S + 1] of the samples above."""
    return np.stack([window(documents) for documents in SAMPLES])


@pytest.fixture(scope="session")
def to_batch() -> Callable[[NDArray[np.int32]], Batch]:
    """`make_batch` with the special ids of these tests."""

    def batch(windows: NDArray[np.int32]) -> Batch:
        return make_batch(windows, np.arange(1, len(windows) + 1, dtype=np.int32), eod_id=EOD, pad_id=PAD)

    return batch


@pytest.fixture(scope="session")
def special_ids() -> dict[str, int]:
    return {"eod_id": EOD, "pad_id": PAD}


@pytest.fixture(scope="session")
def set_large_weights() -> Callable[..., dict[str, NDArray[np.float64]]]:
    """Give every parameter of a Cell N(0, std), LayerNorm's gammas 1 + N(0, std); return them in float64.

    The published start is too flat for a comparison: biases are 0, gammas 1, and attention is almost uniform.
    """
    from mindspore import Tensor, nn

    def set_weights(cell: nn.Cell, std: float = 0.3, seed: int = 20210426) -> dict[str, NDArray[np.float64]]:
        generator = np.random.default_rng(seed)
        parameters = {}
        for item in cell.get_parameters():
            values = generator.normal(float(item.name.endswith("gamma")), std, item.shape).astype(np.float32)
            item.set_data(Tensor(values))
            parameters[item.name] = values.astype(np.float64)
        return parameters

    return set_weights
