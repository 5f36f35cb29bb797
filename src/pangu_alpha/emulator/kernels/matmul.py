"""Matrix products. float16 and bfloat16 are added up in float32 and rounded once, as a cube unit does."""

from __future__ import annotations

import numpy as np

from pangu_alpha.emulator.kernels.registry import kernel
from pangu_alpha.program.graph import Array


@kernel("MatMul", "BatchMatMul")
def matmul(a: Array, b: Array, transpose_a: bool, transpose_b: bool) -> Array:
    """a·b over the last two dims, each transposed first if asked for."""
    left = np.swapaxes(a, -1, -2) if transpose_a else a
    right = np.swapaxes(b, -1, -2) if transpose_b else b
    return np.matmul(left, right)
