"""One optimizer step as MindSpore Cells, and the host-side function that runs it.

The loss of a step is the token-weighted mean over the whole global batch: Σ masked token losses ÷ Σ mask, over all
micro-batches and data-parallel ranks. Gradients are taken of the *sum* and divided at the end, so that splitting a
batch in any way changes nothing but rounding. Before that they are kept in range by constants: one over the number of
token slots of the global batch, and in float16 the loss scale.
"""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops
from mindspore.common.initializer import initializer

from pangu_alpha.config import RunConfig
from pangu_alpha.data import Batch
from pangu_alpha.model import PanguAlpha, PanguAlphaLoss, batch_tensors
from pangu_alpha.training.norm import AddOverRanks, SquaredNorm
from pangu_alpha.training.optimizer import AdamW
from pangu_alpha.training.result import StepResult, step_result
from pangu_alpha.training.scalars import UpdateScalars, control_values, may_skip


class Gradients(nn.Cell):
    """Loss sum and gradients of what `loss` is given."""

    def __init__(self, loss: nn.Cell, parameters: ParameterTuple) -> None:
        super().__init__(auto_prefix=False)
        self.loss = loss
        self.parameters = parameters
        self.gradient = ops.GradOperation(get_by_list=True, sens_param=True)

    def construct(self, sens: Tensor, *batch: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`sens` is the factor on the gradients, float32 scalar; `batch` is that of `PanguAlphaLoss`."""
        return self.loss(*batch), self.gradient(self.loss, self.parameters)(*batch, sens)


class Update(nn.Cell):
    """From gradients of the loss sum to new parameters.

    Loss and norm are over all ranks, so that a float16 overflow or a spike is seen by all, and none updates anything.
    """

    def __init__(
        self,
        optimizer: AdamW,
        skips_spikes: bool,
        shares: Sequence[float] | None = None,
        loss_share: float = 1.0,
    ) -> None:
        """Args:
        optimizer: what updates the parameters.
        skips_spikes: whether a step above the limits changes nothing.
        shares: of the gradients that this rank holds (see `SquaredNorm`), when other ranks hold others.
        loss_share: 1 ÷ the number of ranks that hold the whole loss, when others hold 0.
        """
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer
        self.loss_share = loss_share
        self.squared_norm = SquaredNorm(shares or [1.0] * len(optimizer.parameters))
        self.add_over_ranks = AddOverRanks() if shares is not None else None
        self.sqrt = ops.Sqrt()
        self.skips_spikes = skips_spikes
        self.is_finite = ops.IsFinite()
        self.at_most = ops.LessEqual()
        self.both = ops.LogicalAnd()
        self.stack = ops.Stack()

    def construct(
        self,
        loss_sum: Tensor,
        gradients: tuple[Tensor, ...],
        sens: Tensor,
        count: Tensor,
        learning_rate: Tensor,
        eps: Tensor,
        weight_decay: Tensor,
        largest_loss: Tensor,
        largest_norm: Tensor,
    ) -> Tensor:
        """Mean loss and gradient norm of the global batch, float32 [2]. All inputs but `gradients` are float32 scalars.

        Args:
            loss_sum: of this rank.
            gradients: of the loss sum over all ranks, times `sens`.
            count: counted tokens of the global batch, at least 1.
            sens, learning_rate, eps, weight_decay: see `Gradients` and `AdamW`.
            largest_loss, largest_norm: above which nothing is updated, where spikes are skipped.
        """
        square = self.squared_norm(gradients)
        if self.add_over_ranks is not None:
            loss_sum, square = self.add_over_ranks(loss_sum * self.loss_share, square)
        factor = 1.0 / (count * sens)
        norm = self.sqrt(square) * factor
        loss = loss_sum / count
        keep = self.is_finite(norm)
        if self.skips_spikes:
            keep = self.both(keep, self.both(self.at_most(loss, largest_loss), self.at_most(norm, largest_norm)))
        norm = self.optimizer(gradients, norm, keep, factor, learning_rate, eps, weight_decay)
        # One tensor: of a tuple, MindSpore's pipeline may drop an entry that depends on the update.
        return self.stack((loss, norm))


class SumOverReplicas(nn.Cell):
    """Loss sum and gradients, added up over data-parallel processes that each have the whole network."""

    def __init__(self) -> None:
        super().__init__(auto_prefix=False)
        self.all_reduce = ops.AllReduce()

    def construct(self, loss_sum: Tensor, gradients: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The same shapes as came in."""
        reduced: tuple[Tensor, ...] = ()
        for gradient in gradients:
            reduced += (self.all_reduce(gradient),)
        return self.all_reduce(loss_sum), reduced


class WholeStep(nn.Cell):
    """A step in one graph."""

    def __init__(self, gradients: nn.Cell, update: Update, reduce: SumOverReplicas | None) -> None:
        super().__init__(auto_prefix=False)
        self.gradients = gradients
        self.update = update
        self.reduce = reduce

    def construct(
        self,
        sens: Tensor,
        count: Tensor,
        learning_rate: Tensor,
        eps: Tensor,
        weight_decay: Tensor,
        largest_loss: Tensor,
        largest_norm: Tensor,
        *batch: Tensor,
    ) -> Tensor:
        """See `Update`."""
        loss_sum, gradients = self.gradients(sens, *batch)
        if self.reduce is not None:
            loss_sum, gradients = self.reduce(loss_sum, gradients)
        return self.update(
            loss_sum, gradients, sens, count, learning_rate, eps, weight_decay, largest_loss, largest_norm
        )


class Sums(nn.Cell):
    """Loss sum and gradients, added up over micro-batches."""

    def __init__(self, parameters: ParameterTuple) -> None:
        super().__init__(auto_prefix=False)
        self.loss_sum = Parameter(initializer("zeros", (), ms.float32), name="sum.loss", requires_grad=False)
        self.gradients = parameters.clone(prefix="sum", init="zeros")


class Accumulate(nn.Cell):
    """Adds one micro-batch to the sums."""

    def __init__(self, gradients: Gradients, sums: Sums) -> None:
        super().__init__(auto_prefix=False)
        self.gradients = gradients
        self.sums = sums
        self.add = ops.AssignAdd()

    def construct(self, sens: Tensor, *batch: Tensor) -> Tensor:
        """See `Gradients`; returns the micro-batch's loss sum."""
        loss_sum, gradients = self.gradients(sens, *batch)
        self.add(self.sums.loss_sum, loss_sum)
        for total, gradient in zip(self.sums.gradients, gradients):  # noqa: B905 - MindSpore compiles no `strict`
            self.add(total, gradient)
        return loss_sum


class UpdateFromSums(nn.Cell):
    """The end of a step of several micro-batches: uses the sums and clears them."""

    def __init__(self, sums: Sums, update: Update, reduce: SumOverReplicas | None) -> None:
        super().__init__(auto_prefix=False)
        self.sums = sums
        self.update = update
        self.reduce = reduce
        self.assign = ops.Assign()
        self.zeros = ops.ZerosLike()

    def construct(
        self,
        sens: Tensor,
        count: Tensor,
        learning_rate: Tensor,
        eps: Tensor,
        weight_decay: Tensor,
        largest_loss: Tensor,
        largest_norm: Tensor,
    ) -> Tensor:
        """See `Update`."""
        loss_sum, gradients = self.sums.loss_sum, self.sums.gradients
        if self.reduce is not None:
            loss_sum, gradients = self.reduce(loss_sum, gradients)
        result = self.update(
            loss_sum, gradients, sens, count, learning_rate, eps, weight_decay, largest_loss, largest_norm
        )
        self.assign(self.sums.loss_sum, self.zeros(self.sums.loss_sum))
        for total in self.sums.gradients:
            self.assign(total, self.zeros(total))
        return result


class TrainStep:
    """Runs one step: compiles on the first call, then only computes."""

    def __init__(self, network: PanguAlpha, config: RunConfig) -> None:
        parameters = network.trainable_params()
        self.optimizer = AdamW(parameters, config.optimizer, may_skip(config))
        self._config = config
        gradients = Gradients(PanguAlphaLoss(network), self.optimizer.parameters)
        update = Update(self.optimizer, config.spikes.skip)
        reduce = SumOverReplicas() if config.parallel.dp > 1 else None
        if config.train.num_micro_batches == 1:
            self._whole: WholeStep | None = WholeStep(gradients, update, reduce).set_train()
        else:
            self._whole = None
            sums = Sums(self.optimizer.parameters)
            self._accumulate = Accumulate(gradients, sums).set_train()
            self._update = UpdateFromSums(sums, update, reduce).set_train()

    def __call__(
        self, micro_batches: Sequence[Batch], num_tokens: int, scalars: UpdateScalars, loss_scale: float
    ) -> StepResult:
        """Do one step on this rank's rows of the global batch.

        Args:
            micro_batches: `num_micro_batches` of equal size.
            num_tokens: counted tokens of the global batch.
            scalars: of the optimizer.
            loss_scale: factor on the loss during the backward pass.
        """
        values = control_values(self._config, num_tokens, scalars, loss_scale)
        controls = tuple(Tensor(value, ms.float32) for value in values)
        if self._whole is not None:
            result = self._whole(*controls, *batch_tensors(micro_batches[0]))
        else:
            for batch in micro_batches:
                self._accumulate(controls[0], *batch_tensors(batch))
            result = self._update(*controls)
        loss, grad_norm = map(float, result.asnumpy())
        return step_result(self._config, loss, grad_norm, num_tokens, scalars.limits)
