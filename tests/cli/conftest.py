"""The run of a network that has not been trained, for the verbs that use one."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("GLOG_v", "3")  # before MindSpore is imported

import numpy as np
import pytest

from pangu_alpha.checkpoint import save_whole
from pangu_alpha.config import build_config
from pangu_alpha.tokenizer import load_tokenizer, train_tokenizer

TEXTS = ["话说天下大势，分久必合，合久必分。", "周末七国分争，并入于秦；及秦灭之后，楚、汉分争，又并入于汉。"]


@pytest.fixture(scope="session")
def untrained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network's run, with two tokenizers: the run's own, `tok`, and another one."""
    from pangu_alpha.model import build_network
    from pangu_alpha.runtime.device import set_device

    set_device("cpu")
    folder = tmp_path_factory.mktemp("generate")
    train_tokenizer(TEXTS, folder / "tok", 320)
    train_tokenizer(TEXTS[:1], folder / "other", 290)
    config = build_config(
        {
            "device": "cpu",
            "fuse_operators": False,
            "tokenizer": str(folder / "tok"),
            "model": {
                "num_layers": 2,
                "hidden_size": 16,
                "num_heads": 2,
                "vocab_size": 330,
                "seq_length": 32,
                "final_norm": "after_query_layer",
                "compute_dtype": "float32",
            },
            "train": {"steps": 1, "batch_size": 1},
            "schedule": {"learning_rate": 1e-3, "end_learning_rate": 1e-4, "decay_steps": 3000},
        }
    )
    network = build_network(config.model, 1)
    weights = {item.name: item.asnumpy() * np.float32(5) for item in network.trainable_params()}
    state = {
        "config": config.model_dump(mode="json"),
        "tokenizer_fingerprint": load_tokenizer(folder / "tok").fingerprint,
    }
    save_whole(folder / "run" / "checkpoints", 3, weights, state)
    return folder
