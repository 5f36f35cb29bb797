from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mindspore import Parameter, Tensor, ops


def test_adam_weight_decay(run_kernel: Callable[..., Any]) -> None:
    rng = np.random.default_rng(12)
    state = [rng.normal(size=(3, 4)).astype(np.float32) for _ in range(3)]
    state[2] = np.abs(state[2])
    gradient = rng.normal(size=(3, 4)).astype(np.float32)
    parameters = [Parameter(Tensor(value.copy()), name=f"p{i}") for i, value in enumerate(state)]
    scalars = (1e-2, 0.9, 0.95, 1e-8, 0.1)
    ops.AdamWeightDecay()(*parameters, *scalars, Tensor(gradient))
    updated = run_kernel("AdamWeightDecay", *state, *scalars, gradient, False)
    for result, parameter, before in zip(updated, parameters, state, strict=True):
        np.testing.assert_allclose(result, parameter.asnumpy(), rtol=1e-6, atol=1e-7)
        assert np.abs(result - before).max() > 1e-3


def test_assignments(run_kernel: Callable[..., Any]) -> None:
    variable, value = np.array([1.0, 2.0]), np.array([10.0, 20.0])
    assert run_kernel("Assign", variable, value)[0].tolist() == [10.0, 20.0]
    assert run_kernel("AssignAdd", variable, value)[0].tolist() == [11.0, 22.0]
