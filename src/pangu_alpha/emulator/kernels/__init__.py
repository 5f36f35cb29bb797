"""NumPy kernels of the primitives, by family. Importing this package fills the table."""

from pangu_alpha.emulator.kernels import (
    elementwise,
    indexing,
    matmul,
    normalisation,
    optimizer,
    reduction,
    shape,
)
from pangu_alpha.emulator.kernels.registry import IGNORED_ATTRIBUTES, KERNELS, Kernel

__all__ = [
    "IGNORED_ATTRIBUTES",
    "KERNELS",
    "Kernel",
    "elementwise",
    "indexing",
    "matmul",
    "normalisation",
    "optimizer",
    "reduction",
    "shape",
]
