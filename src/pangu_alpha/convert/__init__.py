"""Weights in and out: the forms in which others have published or keep them, see docs/weights.md. No MindSpore here."""

from pangu_alpha.convert.converting import (
    OURS,
    detect,
    open_source,
    total_bytes,
    weights_of_checkpoint,
    write_checkpoint,
    write_dialect,
)
from pangu_alpha.convert.dialects import DIALECTS
from pangu_alpha.convert.network import Weights, weights_of

__all__ = [
    "DIALECTS",
    "OURS",
    "Weights",
    "detect",
    "open_source",
    "total_bytes",
    "weights_of",
    "weights_of_checkpoint",
    "write_checkpoint",
    "write_dialect",
]
