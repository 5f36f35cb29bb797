"""A tiny network whose weights are written in every dialect, with numbers that tell places and directions apart."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pangu_alpha.config import ModelConfig
from pangu_alpha.convert import Weights
from pangu_alpha.parallel.parameters import parameter_names, row_of

MODEL = ModelConfig(
    num_layers=3,
    hidden_size=16,
    num_heads=4,
    vocab_size=50,
    seq_length=8,
    final_norm="before_query_layer",
    dropout=0.0,
    compute_dtype="float32",
)


@pytest.fixture(scope="session")
def model() -> ModelConfig:
    return MODEL


@pytest.fixture(scope="session")
def tensors() -> dict[str, NDArray[np.float32]]:
    """By our names. Multiples of 2⁻¹⁰ that float16 has, too."""
    rng = np.random.default_rng(7)
    return {
        name: (rng.integers(-1500, 1500, row_of(name).shape(MODEL)) / 1024).astype(np.float32)
        for name in parameter_names(MODEL)
    }


@pytest.fixture(scope="session")
def weights(tensors: dict[str, NDArray[np.float32]]) -> Weights:
    return Weights(Path("drawn"), MODEL, lambda name: tensors[name])


@pytest.fixture(scope="session")
def require_equal(tensors: dict[str, NDArray[np.float32]]) -> Callable[[Weights], None]:
    """Refuses weights that are not, to the bit, the drawn ones."""

    def require(found: Weights) -> None:
        for name, expected in tensors.items():
            values = found.read(name)
            assert values.dtype == np.float32 and values.shape == expected.shape, name
            assert values.tobytes() == expected.tobytes(), name

    return require


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of data that is not in the project."""
    folder = Path(os.environ.get("PANGU_ALPHA_TEST_DATA", Path(__file__).parents[2].parent / "shared/data"))
    if not (folder / "pangu_alpha_2.6B_ckpt_strategy.ckpt").exists():
        pytest.skip(f"the released strategy files are not at {folder}; PANGU_ALPHA_TEST_DATA names another folder")
    return folder
