"""Dropout whose mask is a function of (sample, place in the network, position, channel).

MindSpore's own dropout draws from a generator hidden in the kernel: a resumed run would continue with other masks, and
slices of a tensor on different devices would share one. Here an element is dropped when the product of a number for its
row and a number for its column, modulo 2³², falls below a threshold (multiplicative hashing). The row's number comes
from the sample's key, so micro-batches, data-parallel ranks and resumed runs all drop the same elements.
"""

from __future__ import annotations

import zlib

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

_ROW_STEP = 0x9E3779B1  # 2³² ÷ the golden ratio: consecutive rows land far apart
_MIX = 0x7FEB352D  # constants of Wellons' 32-bit hash
_MIX_AGAIN = 0x846CA68B


class Dropout(nn.Cell):
    """Set a share `rate` of the elements to 0 and scale the others by 1/(1 - rate); does nothing outside training."""

    def __init__(self, rate: float, place: str, num_rows: int, num_columns: int) -> None:
        """Args:
        rate: share of dropped elements.
        place: name of this place in the network; two places with the same name would drop alike.
        num_rows: rows that one sample has in the tensors given to `construct`.
        num_columns: size of their last dim.
        """
        super().__init__()
        self.rate = rate
        self.num_rows = num_rows
        place_key = zlib.crc32(place.encode())
        rows = np.arange(num_rows, dtype=np.uint64) * _ROW_STEP + place_key
        self.row_offsets = Tensor(_as_int32(rows).reshape(1, num_rows))
        columns = np.random.Philox(key=place_key).random_raw(num_columns)
        self.columns = Tensor(_as_int32(columns).reshape(1, num_columns))
        self.threshold = Tensor(round(rate * 2**32) - 2**31, ms.int32)
        self.keep_scale = 1.0 / (1.0 - rate)
        self.cast = ops.Cast()
        self.reshape = ops.Reshape()
        self.number_rows = ops.Add()
        self.mix = Mix()
        self.make_odd = ops.BitwiseOr()
        self.one = Tensor(1, ms.int32)
        self.hash = ops.Mul()
        self.keep = ops.GreaterEqual()
        self.mask = ops.Mul()
        self.scale = ops.Mul()

    def construct(self, x: Tensor, sample_keys: Tensor) -> Tensor:
        """Drop elements of `x`.

        Args:
            x: [..., num_columns] with B·num_rows rows, samples outermost.
            sample_keys: int32 [B].

        Returns:
            As `x`, in its shape and type.
        """
        if not self.training or self.rate == 0.0:
            return x
        rows = self.make_odd(self.mix(self.number_rows(self.reshape(sample_keys, (-1, 1)), self.row_offsets)), self.one)
        hashed = self.hash(self.reshape(rows, (*x.shape[:-1], 1)), self.columns)
        kept = self.cast(self.keep(hashed, self.threshold), x.dtype)
        return self.scale(self.mask(x, kept), self.keep_scale)


class Mix(nn.Cell):
    """Wellons' "lowbias32", with arithmetic shifts masked to logical ones (the tensors are signed)."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = ops.RightShift()
        self.keep_low_bits = ops.BitwiseAnd()
        self.fold = ops.BitwiseXor()
        self.multiply = ops.Mul()
        # The bitwise operators take no Python numbers.
        self.sixteen, self.fifteen = Tensor(16, ms.int32), Tensor(15, ms.int32)
        self.low_16, self.low_17 = Tensor(0xFFFF, ms.int32), Tensor(0x1FFFF, ms.int32)

    def construct(self, x: Tensor) -> Tensor:
        """int32 [B, rows] → the same shape."""
        x = self.fold(x, self.keep_low_bits(self.shift(x, self.sixteen), self.low_16))
        x = self.multiply(x, _signed(_MIX))
        x = self.fold(x, self.keep_low_bits(self.shift(x, self.fifteen), self.low_17))
        x = self.multiply(x, _signed(_MIX_AGAIN))
        return self.fold(x, self.keep_low_bits(self.shift(x, self.sixteen), self.low_16))


def _signed(constant: int) -> int:
    return constant - 2**32 if constant >= 2**31 else constant


def _as_int32(values: np.ndarray) -> np.ndarray:
    return values.astype(np.uint32).view(np.int32)
