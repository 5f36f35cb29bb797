"""Weights in one of the dialects, before it is known which network they make up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangu_alpha.convert.dialects import Dialect
from pangu_alpha.convert.stored import Tensor


@dataclass(frozen=True)
class Source:
    """What is in somebody's folder."""

    path: Path
    dialect: Dialect
    tensors: Mapping[str, Tensor]
    """By their names there."""
    network: Mapping[str, Any]
    """Settings of `model` that the files state beside the shapes: heads, the form of GeLU."""
    left_out: tuple[str, ...] = ()
    """Names of what lies beside the weights and is known to be none: moments, masks, counters."""
