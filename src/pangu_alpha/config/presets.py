"""The networks of the paper by name, and the data mixes of its Table 4."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

_PAPER = {"vocab_size": 40000, "seq_length": 1024, "dropout": 0.1, "compute_dtype": "float16"}

MODEL_PRESETS: MappingProxyType[str, dict[str, Any]] = MappingProxyType(
    {
        "tiny": {
            "num_layers": 4,
            "hidden_size": 256,
            "num_heads": 4,
            "vocab_size": 6000,
            "seq_length": 256,
            "final_norm": "after_query_layer",
            "dropout": 0.1,
            "compute_dtype": "float32",
        },
        # The paper uses a 350M network to judge data (§3.1.3) but does not give its sizes; these are the usual ones.
        "350m": {"num_layers": 24, "hidden_size": 1024, "num_heads": 16, "final_norm": "before_query_layer", **_PAPER},
        "2b6": {"num_layers": 32, "hidden_size": 2560, "num_heads": 32, "final_norm": "before_query_layer", **_PAPER},
        "13b": {"num_layers": 40, "hidden_size": 5120, "num_heads": 40, "final_norm": "before_query_layer", **_PAPER},
        "200b": {"num_layers": 64, "hidden_size": 16384, "num_heads": 128, "final_norm": "after_query_layer", **_PAPER},
    }
)
"""Values of `ModelConfig` by name; `model.preset: 2b6` in a YAML file starts from them."""

DATA_MIXES: MappingProxyType[str, dict[str, float]] = MappingProxyType(
    {
        "paper_200b": {"public": 10.23, "ebooks": 12.23, "common_crawl": 62.81, "news": 7.83, "encyclopedia": 6.9},
        # As printed; they add up to 100.99 and are normalised when used.
        "paper_2b6_13b": {"public": 27.99, "ebooks": 18.0, "common_crawl": 10.0, "news": 22.0, "encyclopedia": 23.0},
    }
)
"""Weights in percent by source name (paper Table 4)."""
