"""How fast this machine multiplies matrices: the measure for what a step makes of it."""

from __future__ import annotations

import time

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from pangu_alpha.config import DeviceKind

_SIZE = {"cpu": 2048, "ascend": 8192, "gpu": 8192}
_REPEATS = 5


class _Product(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.matmul = ops.MatMul()

    def construct(self, a: Tensor, b: Tensor) -> Tensor:
        return self.matmul(a, b)


def matmul_rate(device: DeviceKind, dtype: ms.Type) -> float:
    """Floating-point operations a second of a large square matrix product: the best of some runs."""
    size = _SIZE[device]
    matrix = Tensor(np.random.default_rng(0).standard_normal((size, size), np.float32)).astype(dtype)
    product = _Product()
    seconds = []
    for _ in range(_REPEATS + 1):  # the first one compiles
        start = time.perf_counter()
        product(matrix, matrix).asnumpy()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds[1:])
