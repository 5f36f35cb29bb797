"""The optimizer Cell against textbook updates in float64 NumPy."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor

from pangu_alpha.config import OptimizerConfig
from pangu_alpha.training.norm import SquaredNorm
from pangu_alpha.training.optimizer import AdamW
from pangu_alpha.training.scalars import update_scalars

NAMES = (
    "layers.0.attention.query.weight",
    "layers.0.attention.query.bias",
    "final_norm.gamma",
    "final_norm.beta",
    "embedding.word.table",
)
SHAPES = ((5, 3), (3,), (4,), (4,), (6, 2))


def run(
    config: OptimizerConfig, gradients: list[list[np.ndarray]], factor: float
) -> tuple[list[np.ndarray], list[float]]:
    rng = np.random.default_rng(0)
    starts = [rng.standard_normal(shape).astype(np.float32) for shape in SHAPES]
    parameters = [Parameter(Tensor(start), name=name) for name, start in zip(NAMES, starts, strict=True)]
    optimizer = AdamW(parameters, config)
    norms = []
    for step, group in enumerate(gradients):
        scalars = update_scalars(config, 0.01, step)
        tensors = tuple(Tensor(gradient.astype(np.float32)) for gradient in group)
        norm = np.sqrt(sum(np.square(gradient * factor).sum() for gradient in group))
        norms.append(
            float(
                optimizer(
                    tensors,
                    Tensor(norm, ms.float32),
                    Tensor(True),
                    Tensor(factor, ms.float32),
                    Tensor(scalars.learning_rate, ms.float32),
                    Tensor(scalars.eps, ms.float32),
                    Tensor(scalars.weight_decay, ms.float32),
                )
            )
        )
    return [parameter.asnumpy() for parameter in parameters], norms


def expected(config: OptimizerConfig, gradients: list[list[np.ndarray]], factor: float) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(shape).astype(np.float32).astype(np.float64) for shape in SHAPES]
    first = [np.zeros(shape) for shape in SHAPES]
    second = [np.zeros(shape) for shape in SHAPES]
    for step, group in enumerate(gradients, start=1):
        norm = np.sqrt(sum(np.square(gradient * factor).sum() for gradient in group))
        for i, gradient in enumerate(group):
            g = gradient * factor * min(1.0, config.clip_norm / norm)
            first[i] = config.beta1 * first[i] + (1 - config.beta1) * g
            second[i] = config.beta2 * second[i] + (1 - config.beta2) * g * g
            m, v = first[i], second[i]
            if config.kind == "adamw":
                m, v = m / (1 - config.beta1**step), v / (1 - config.beta2**step)
            decay = config.weight_decay if i in (0, 4) else 0.0
            values[i] = values[i] - 0.01 * (m / (np.sqrt(v) + config.eps) + decay * values[i])
    return values


@pytest.mark.parametrize("kind", ["adam_weight_decay", "adamw"])
@pytest.mark.parametrize("clip_norm", [0.5, 1e6])
def test_updates_equal_the_textbook(kind: str, clip_norm: float) -> None:
    config = OptimizerConfig(kind=kind, weight_decay=0.3, clip_norm=clip_norm, eps=1e-6)  # type: ignore[arg-type]
    rng = np.random.default_rng(1)
    gradients = [[rng.standard_normal(shape) * 3 for shape in SHAPES] for _ in range(4)]
    found, _ = run(config, gradients, factor=0.25)
    for value, wanted in zip(found, expected(config, gradients, factor=0.25), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=0, atol=2e-6)


def test_the_two_forms_differ() -> None:
    gradients = [[np.ones(shape) for shape in SHAPES]]
    published, _ = run(OptimizerConfig(), gradients, factor=1.0)
    corrected, _ = run(OptimizerConfig(kind="adamw"), gradients, factor=1.0)
    assert np.abs(published[0] - corrected[0]).max() > 1e-3


def test_norm_counts_every_gradient_once() -> None:
    rng = np.random.default_rng(2)
    gradients = [rng.standard_normal(shape).astype(np.float32) for shape in SHAPES]
    square = SquaredNorm([1.0] * len(gradients))(tuple(Tensor(g) for g in gradients))
    wanted = np.sqrt(sum(np.square(g.astype(np.float64)).sum() for g in gradients))
    assert float(square) ** 0.5 == pytest.approx(wanted, rel=1e-6)
