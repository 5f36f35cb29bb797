"""A small network with large random weights, and a byte tokenizer: one id a UTF-8 byte."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

os.environ.setdefault("GLOG_v", "3")  # before MindSpore is imported

import numpy as np
import pytest
from mindspore import Tensor

from pangu_alpha.config import ModelConfig
from pangu_alpha.model import PanguAlpha
from pangu_alpha.runtime.device import set_device


class ByteTokenizer:
    """Ids 0 to 3 are special, id 4 + b is the byte b."""

    pad_id, eod_id, eot_id = 1, 2, 3
    special_ids = {"<unk>": 0, "<pad>": 1, "<eod>": 2, "<eot>": 3}  # noqa: RUF012
    vocab_size = 4 + 256

    def encode(self, text: str) -> list[int]:
        return [4 + byte for byte in text.encode()]

    def decode(self, ids: Iterable[int]) -> str:
        return bytes(id_ - 4 for id_ in ids if id_ >= 4).decode(errors="replace")

    def piece(self, id_: int) -> str:
        return str(id_)


@pytest.fixture(scope="session", autouse=True)
def inference_on_cpu() -> None:
    set_device("cpu")


@pytest.fixture(scope="session")
def inference_tokenizer() -> ByteTokenizer:
    return ByteTokenizer()


@pytest.fixture(scope="session")
def inference_config() -> Callable[..., ModelConfig]:
    def make(**changes: Any) -> ModelConfig:
        sizes = {"num_layers": 2, "hidden_size": 32, "num_heads": 4, "vocab_size": 264, "seq_length": 40}
        rest = {"final_norm": "before_query_layer", "dropout": 0.1, "compute_dtype": "float32"}
        return ModelConfig(**{**sizes, **rest, **changes})

    return make


@pytest.fixture(scope="session")
def inference_network() -> Callable[[ModelConfig], PanguAlpha]:
    def make(config: ModelConfig) -> PanguAlpha:
        network = PanguAlpha(config).set_train(False)
        generator = np.random.default_rng(20210426)
        for item in network.get_parameters():
            mean = float(item.name.endswith("gamma"))
            item.set_data(Tensor(generator.normal(mean, 0.25, item.shape).astype(np.float32)))
        return network

    return make


@pytest.fixture(scope="session")
def recompute() -> Callable[..., np.ndarray]:
    """Logits after the last token, computed without a cache from the whole context."""

    def last_logits(network: PanguAlpha, config: ModelConfig, context: list[int], eod_id: int) -> np.ndarray:
        ids, positions = np.zeros((1, config.seq_length), np.int32), np.zeros((1, config.seq_length), np.int32)
        documents = np.zeros((1, config.seq_length), np.int32)
        position = document = 0
        for place, token in enumerate(context):
            ids[0, place], positions[0, place], documents[0, place] = token, position, document
            is_end = token == eod_id
            position, document = (0, document + 1) if is_end else (position + 1, document)
        documents[0, len(context) :] = document + 1
        logits = network(Tensor(ids), Tensor(positions), Tensor(documents), Tensor(np.zeros(1, np.int32))).asnumpy()
        return logits[len(context) - 1]

    return last_logits
