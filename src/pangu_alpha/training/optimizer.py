"""AdamW on clipped gradients: one Cell that turns summed gradients into new parameters.

Both forms of the update run on one fused operator, θ -= lr·(m/(√v + ε) + λθ). The published `AdamWeightDecay` is that
operator as it is. Loshchilov and Hutter's bias-corrected form is the same with other scalars: with c₁ = 1 - β₁ᵗ and
c₂ = √(1 - β₂ᵗ), it is lr' = lr·c₂/c₁, ε' = ε·c₂, λ' = λ·c₁/c₂ (multiply out to check).
"""

from __future__ import annotations

import mindspore as ms
from mindspore import ParameterTuple, Tensor, nn, ops

from pangu_alpha.config import OptimizerConfig
from pangu_alpha.parallel.parameters import MOMENTS, row_of


class AdamW(nn.Cell):
    """Scales the gradients, clips them by their global norm and updates the parameters in place."""

    def __init__(self, parameters: list[ms.Parameter], config: OptimizerConfig, may_skip: bool = False) -> None:
        """Args:
        parameters: what is updated.
        config: betas, eps, decay and the clipping norm.
        may_skip: whether there are updates that are to change nothing.
        """
        super().__init__(auto_prefix=False)
        self.parameters = ParameterTuple(parameters)
        first, second = MOMENTS
        self.first_moments = self.parameters.clone(prefix=first.removesuffix("."), init="zeros")
        self.second_moments = self.parameters.clone(prefix=second.removesuffix("."), init="zeros")
        self.decayed = tuple(row_of(item.name).is_decayed for item in parameters)
        self.beta1, self.beta2 = Tensor(config.beta1, ms.float32), Tensor(config.beta2, ms.float32)
        self.clip_norm = config.clip_norm
        self.may_skip = may_skip
        self.select = ops.Select()
        self.zero, self.one = Tensor(0.0, ms.float32), Tensor(1.0, ms.float32)
        self.update = ops.AdamWeightDecay()
        self.map = ops.HyperMap()  # not a loop, see `SquaredNorm`
        self.minimum = ops.Minimum()
        self.multiply = ops.Mul()
        self.cast = ops.Cast()

    def construct(
        self,
        gradients: tuple[Tensor, ...],
        norm: Tensor,
        keep: Tensor,
        factor: Tensor,
        learning_rate: Tensor,
        eps: Tensor,
        weight_decay: Tensor,
    ) -> Tensor:
        """Update the parameters with `gradients`·`factor`, clipped. All inputs but `gradients` are scalars, of float32.

        Args:
            gradients: one for each parameter.
            norm: global norm of `gradients`·`factor`.
            keep: bool; where it is False nothing changes, if there are such updates.
            factor: turns `gradients` into those of the mean loss.
            learning_rate, eps, weight_decay: see `UpdateScalars`.

        Returns:
            `norm`, available only after the update.
        """
        factor = factor * self.minimum(self.clip_norm / (norm + 1e-12), 1.0)
        beta1, beta2 = self.beta1, self.beta2
        if self.may_skip:
            # A rate of 0 with betas of 1 keeps parameters and moments as they are, to the bit. A branch would split the
            # program in two, which MindSpore's memory planner cannot follow.
            learning_rate = self.select(keep, learning_rate, self.zero)
            beta1 = self.select(keep, self.beta1, self.one)
            beta2 = self.select(keep, self.beta2, self.one)
        fixed = ops.partial(self.update_one, keep, factor, learning_rate, beta1, beta2, eps, weight_decay)
        done = self.map(fixed, self.decayed, self.parameters, self.first_moments, self.second_moments, gradients)
        return ops.depend(norm, done)

    def update_one(
        self,
        keep: Tensor,
        factor: Tensor,
        learning_rate: Tensor,
        beta1: Tensor,
        beta2: Tensor,
        eps: Tensor,
        weight_decay: Tensor,
        decayed: bool,
        parameter: Tensor,
        first_moment: Tensor,
        second_moment: Tensor,
        gradient: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Update one parameter and its moments in place."""
        scaled = self.multiply(self.cast(gradient, ms.float32), factor)
        if self.may_skip:
            scaled = self.select(keep, scaled, self.zero)
        decay = weight_decay if decayed else 0.0
        return self.update(parameter, first_moment, second_moment, learning_rate, beta1, beta2, eps, decay, scaled)
