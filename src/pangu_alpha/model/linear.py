"""A matrix product with bias, and the LayerNorm: the two parts that own most parameters' names."""

from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from pangu_alpha.model.operators import Normalise
from pangu_alpha.model.parameter import parameter


class Linear(nn.Cell):
    """y = x·W + b, with W [in, out] and b [out] in float32, computed in `compute_dtype`."""

    weight: Parameter
    bias: Parameter

    def __init__(self, in_size: int, out_size: int, compute_dtype: ms.Type) -> None:
        super().__init__()
        self.weight = parameter((in_size, out_size))
        self.bias = parameter((out_size,))
        self.compute_dtype = compute_dtype
        self.cast = ops.Cast()
        self.matmul = ops.MatMul()
        self.add = ops.Add()

    def construct(self, x: Tensor) -> Tensor:
        """[N, in] in `compute_dtype` → [N, out]."""
        product = self.matmul(x, self.cast(self.weight, self.compute_dtype))
        return self.add(product, self.cast(self.bias, self.compute_dtype))


class LayerNorm(nn.Cell):
    """Normalise each row in float32 and return it in `compute_dtype`."""

    gamma: Parameter
    beta: Parameter

    def __init__(self, size: int, compute_dtype: ms.Type) -> None:
        super().__init__()
        self.gamma = parameter((size,))
        self.beta = parameter((size,))
        self.compute_dtype = compute_dtype
        self.cast = ops.Cast()
        self.normalise = Normalise(size)

    def construct(self, x: Tensor) -> Tensor:
        """[N, size] → [N, size]."""
        return self.cast(self.normalise(self.cast(x, ms.float32), self.gamma, self.beta), self.compute_dtype)
