"""What the single-device network does on the run of `cases.py`, three times over: what layouts are compared with.

The float64 reference is the one-rank program in the same interpreter; the others are MindSpore's own CPU kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import mindspore as ms
import numpy as np
from mindspore import ParameterTuple, Tensor
from numpy.typing import NDArray

from pangu_alpha.config import ModelConfig, RunConfig
from pangu_alpha.emulator.step import emulated_step
from pangu_alpha.model import PanguAlpha, PanguAlphaLoss, batch_tensors, build_network
from pangu_alpha.parallel.parameters import MOMENTS
from pangu_alpha.training.backend import Step, reader
from pangu_alpha.training.learning_rate import learning_rate
from pangu_alpha.training.loss_scale import LossScaler
from pangu_alpha.training.replica import ProcessStep
from pangu_alpha.training.result import StepResult
from pangu_alpha.training.scalars import update_scalars
from pangu_alpha.training.step import Gradients
from pangu_alpha.verification.cases import batches

Tensors = dict[str, NDArray[np.floating]]


@dataclass(frozen=True)
class Exact:
    """The float64 run."""

    results: list[StepResult]
    gradients: Tensors
    """Clipped gradients of the first step."""
    tensors: Tensors
    """Weights and moments after the last step."""


@dataclass(frozen=True)
class Anchor:
    """The run of MindSpore's CPU kernels."""

    results: list[StepResult]
    gradient_norms: dict[str, float]
    """Norms of the first step's gradients, before clipping, by parameter."""


def run(step: Step, config: RunConfig, after_first: Callable[[], None] = lambda: None) -> list[StepResult]:
    """All steps, with the schedule, and in float16 with the dynamic loss scale; calls `after_first` after the first."""
    scaler = LossScaler(config.loss_scale, config.loss_scale.initial)
    is_half = config.model.compute_dtype == "float16"
    results: list[StepResult] = []
    num_updates = 0
    for number, batch in enumerate(batches(config.train.batch_size)):
        scalars = update_scalars(config.optimizer, learning_rate(config.schedule, num_updates), num_updates)
        scale = scaler.scale if is_half else 1.0
        results.append(step(batch, int(batch.loss_mask.sum()), scalars, scale))
        scaler.update(results[-1].skipped)
        num_updates += not results[-1].skipped
        if number == 0:
            after_first()
    return results


@cache
def start(model: ModelConfig, seed: int) -> Mapping[str, NDArray[np.floating]]:
    """Weights and moments at the start.

    The weights are not those of a real start but larger: there, scores and gradients are so small that many a mistake
    would hide in rounding.
    """
    network = build_network(model, seed)
    rng = np.random.default_rng(seed)
    weights = {}
    for item in network.trainable_params():
        value = item.asnumpy()
        weights[item.name] = (value + 0.1 * rng.standard_normal(value.shape)).astype(np.float32)
    moments = {f"{prefix}{name}": np.zeros_like(value) for prefix in MOMENTS for name, value in weights.items()}
    return {**weights, **moments}


@cache
def exact(config: RunConfig) -> Exact:
    """The one-rank program of `config` in float64."""
    step = emulated_step(config, "float64")
    step.load(reader(start(config.model, config.train.seed)))
    gradients: Tensors = {}
    results = run(step, config, lambda: gradients.update(step.gradients()))
    return Exact(results, gradients, step.tensors())


@cache
def anchor(config: RunConfig) -> Anchor:
    """The network of `config` on MindSpore's CPU kernels."""
    network = build_network(config.model, config.train.seed)
    step = ProcessStep(network, config)
    step.load(reader(start(config.model, config.train.seed)))
    norms = _first_gradient_norms(network, config.train.batch_size)
    return Anchor(run(step, config), norms)


def _first_gradient_norms(network: PanguAlpha, batch_size: int) -> dict[str, float]:
    """Norms of the first batch's gradients of the mean loss."""
    batch = batches(batch_size)[0]
    cell = Gradients(PanguAlphaLoss(network), ParameterTuple(network.trainable_params())).set_train()
    _, gradients = cell(Tensor(1.0 / batch.loss_mask.sum(), ms.float32), *batch_tensors(batch))
    return {
        item.name: float(np.linalg.norm(gradient.asnumpy().astype(np.float64)))
        for item, gradient in zip(network.trainable_params(), gradients, strict=True)
    }
