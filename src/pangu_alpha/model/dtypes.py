"""MindSpore's types for the names in the settings."""

from __future__ import annotations

import mindspore as ms

from pangu_alpha.config import ModelConfig

_TYPES = {"float32": ms.float32, "float16": ms.float16, "bfloat16": ms.bfloat16}


def compute_dtype(config: ModelConfig) -> ms.Type:
    """The type of matrix products and activations of this network."""
    return _TYPES[config.compute_dtype]
