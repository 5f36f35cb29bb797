"""Primitives that write parameters: each returns the new values of its first inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from pangu_alpha.emulator.kernels.registry import kernel
from pangu_alpha.program.graph import Array


@kernel("Assign", num_updated=1)
def assign(_variable: Array, value: Array) -> tuple[Array]:
    """The value."""
    return (value,)


@kernel("AssignAdd", num_updated=1)
def assign_add(variable: Array, value: Array) -> tuple[Array]:
    """The sum."""
    return (variable + value,)


@kernel("AdamWeightDecay", num_updated=3)
def adam_weight_decay(
    variable: Array,
    first_moment: Array,
    second_moment: Array,
    learning_rate: Array,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    gradient: Array,
    _use_locking: Any,
) -> tuple[Array, Array, Array]:
    """θ -= lr·(m/(√v + ε) + λθ), without bias correction, and the new moments."""
    first = beta1 * first_moment + (1.0 - beta1) * gradient
    second = beta2 * second_moment + (1.0 - beta2) * gradient * gradient
    change = first / (np.sqrt(second) + eps) + weight_decay * variable
    return variable - learning_rate * change, first, second
