"""Which NumPy types stand for the program's types.

`native` keeps float32, float16 and bfloat16 as they are. `float64` lifts them all, so that two programs which compute
the same function agree to about 1e-13 instead of to the rounding of their types.
"""

from __future__ import annotations

from typing import Any, Literal

import ml_dtypes
import numpy as np

from pangu_alpha.program.graph import Array

Precision = Literal["native", "float64"]
FLOAT16 = np.dtype(np.float16)
FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def kind_of(dtype: np.dtype[Any]) -> str:
    """`float`, `int` or `bool`; NumPy has no such word for bfloat16."""
    if dtype == BFLOAT16 or dtype.kind == "f":
        return "float"
    return "bool" if dtype.kind == "b" else "int"


def is_narrow(dtype: np.dtype[Any]) -> bool:
    """Whether `dtype` is computed in float32 and rounded."""
    return dtype in (BFLOAT16, FLOAT16)


def lifted(dtype: np.dtype[Any], precision: Precision) -> np.dtype[Any]:
    """The type that stands for `dtype`."""
    return FLOAT64 if precision == "float64" and kind_of(dtype) == "float" else dtype


def widen(x: Array) -> Array:
    """float16 and bfloat16 as float32, anything else as it is."""
    return x.astype(FLOAT32) if is_narrow(x.dtype) else x
