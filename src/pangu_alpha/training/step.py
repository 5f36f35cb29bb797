"""One optimizer step as MindSpore Cells, and the host-side function that runs it.

The loss of a step is the token-weighted mean over the whole global batch: Σ masked token losses ÷ Σ mask, over all
micro-batches and data-parallel ranks. Gradients are taken of the *sum* and divided at the end, so that splitting a
batch in any way changes nothing but rounding. Before that they are kept in range by constants: one over the number of
token slots of the global batch, and in float16 the loss scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops
from mindspore.common.initializer import initializer

from pangu_alpha.config import RunConfig, tokens_per_step
from pangu_alpha.data import Batch
from pangu_alpha.model import PanguAlpha, PanguAlphaLoss
from pangu_alpha.training.optimizer import AdamW, UpdateScalars


@dataclass(frozen=True)
class StepResult:
    """What a step reports."""

    loss: float
    """Mean loss of a counted token, in nats."""
    grad_norm: float
    """Global norm of the mean loss's gradient before clipping."""
    num_tokens: int
    """Counted tokens of the global batch."""
    skipped: bool
    """Whether gradients overflowed, so that nothing was updated (float16 only)."""


def batch_tensors(batch: Batch) -> tuple[Tensor, ...]:
    """The inputs of `PanguAlphaLoss`."""
    return tuple(
        Tensor(array)
        for array in (
            batch.input_ids,
            batch.position_ids,
            batch.document_ids,
            batch.labels,
            batch.loss_mask,
            batch.sample_keys,
        )
    )


class Gradients(nn.Cell):
    """Loss sum, counted tokens and gradients of one micro-batch."""

    def __init__(self, loss: PanguAlphaLoss, parameters: ParameterTuple) -> None:
        super().__init__(auto_prefix=False)
        self.loss = loss
        self.parameters = parameters
        self.gradient = ops.GradOperation(get_by_list=True, sens_param=True)
        self.count = ops.ReduceSum()

    def construct(self, sens: Tensor, *batch: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """`sens` is the factor on the gradients, float32 scalar; `batch` is that of `PanguAlphaLoss`."""
        loss_sum = self.loss(*batch)
        gradients = self.gradient(self.loss, self.parameters)(*batch, sens)
        return loss_sum, self.count(batch[4]), gradients


class Update(nn.Cell):
    """Sums over the data-parallel ranks, then the optimizer; nothing is updated when a float16 gradient overflowed."""

    def __init__(self, optimizer: AdamW, dp: int, may_overflow: bool) -> None:
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer
        self.may_overflow = may_overflow
        self.all_reduce = ops.AllReduce() if dp > 1 else None
        self.is_finite = ops.IsFinite()
        self.maximum = ops.Maximum()

    def construct(
        self,
        loss_sum: Tensor,
        count: Tensor,
        gradients: tuple[Tensor, ...],
        sens: Tensor,
        learning_rate: Tensor,
        eps: Tensor,
        weight_decay: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mean loss, gradient norm and counted tokens of the global batch. All inputs but `gradients` are scalars."""
        if self.all_reduce is not None:
            loss_sum, count = self.all_reduce(loss_sum), self.all_reduce(count)
            reduced: tuple[Tensor, ...] = ()
            for gradient in gradients:
                reduced += (self.all_reduce(gradient),)
            gradients = reduced
        # At least 1: a batch of nothing but padding has the loss 0, not 0 ÷ 0.
        count = self.maximum(count, 1.0)
        factor = 1.0 / (count * sens)
        norm = self.optimizer.norm(gradients) * factor
        if not self.may_overflow or self.is_finite(norm):
            norm = ops.depend(norm, self.optimizer(gradients, norm, factor, learning_rate, eps, weight_decay))
        return loss_sum / count, norm, count


class WholeStep(nn.Cell):
    """A step of one micro-batch, in one graph."""

    def __init__(self, gradients: Gradients, update: Update) -> None:
        super().__init__(auto_prefix=False)
        self.gradients = gradients
        self.update = update

    def construct(
        self, sens: Tensor, learning_rate: Tensor, eps: Tensor, weight_decay: Tensor, *batch: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `Update`."""
        loss_sum, count, gradients = self.gradients(sens, *batch)
        return self.update(loss_sum, count, gradients, sens, learning_rate, eps, weight_decay)


class Sums(nn.Cell):
    """Loss sum, counted tokens and gradients, added up over micro-batches."""

    def __init__(self, parameters: ParameterTuple) -> None:
        super().__init__(auto_prefix=False)
        self.loss_sum = Parameter(initializer("zeros", (), ms.float32), name="sum.loss", requires_grad=False)
        self.count = Parameter(initializer("zeros", (), ms.float32), name="sum.count", requires_grad=False)
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
        loss_sum, count, gradients = self.gradients(sens, *batch)
        self.add(self.sums.loss_sum, loss_sum)
        self.add(self.sums.count, count)
        for total, gradient in zip(self.sums.gradients, gradients):  # noqa: B905 - MindSpore compiles no `strict`
            self.add(total, gradient)
        return loss_sum


class UpdateFromSums(nn.Cell):
    """The end of a step of several micro-batches: uses the sums and clears them."""

    def __init__(self, sums: Sums, update: Update) -> None:
        super().__init__(auto_prefix=False)
        self.sums = sums
        self.update = update
        self.assign = ops.Assign()
        self.zeros = ops.ZerosLike()

    def construct(
        self, sens: Tensor, learning_rate: Tensor, eps: Tensor, weight_decay: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `Update`."""
        sums = self.sums
        result = self.update(sums.loss_sum, sums.count, sums.gradients, sens, learning_rate, eps, weight_decay)
        self.assign(sums.loss_sum, self.zeros(sums.loss_sum))
        self.assign(sums.count, self.zeros(sums.count))
        for total in sums.gradients:
            self.assign(total, self.zeros(total))
        return result


class TrainStep:
    """Runs one step: compiles on the first call, then only computes."""

    def __init__(self, network: PanguAlpha, config: RunConfig) -> None:
        parameters = network.trainable_params()
        self.optimizer = AdamW(parameters, config.optimizer)
        self._num_slots = tokens_per_step(config)
        self._may_overflow = config.model.compute_dtype == "float16"
        loss = PanguAlphaLoss(network)
        gradients = Gradients(loss, self.optimizer.parameters)
        update = Update(self.optimizer, config.parallel.dp, self._may_overflow)
        if config.train.num_micro_batches == 1:
            self._whole: WholeStep | None = WholeStep(gradients, update).set_train()
        else:
            self._whole = None
            sums = Sums(self.optimizer.parameters)
            self._accumulate = Accumulate(gradients, sums).set_train()
            self._update = UpdateFromSums(sums, update).set_train()

    def __call__(self, micro_batches: Sequence[Batch], scalars: UpdateScalars, loss_scale: float) -> StepResult:
        """Do one step on this rank's rows of the global batch.

        Args:
            micro_batches: `num_micro_batches` of equal size.
            scalars: of the optimizer.
            loss_scale: factor on the loss during the backward pass.
        """
        sens = _scalar(loss_scale / self._num_slots)
        controls = (sens, _scalar(scalars.learning_rate), _scalar(scalars.eps), _scalar(scalars.weight_decay))
        if self._whole is not None:
            loss, norm, count = self._whole(*controls, *batch_tensors(micro_batches[0]))
        else:
            for batch in micro_batches:
                self._accumulate(sens, *batch_tensors(batch))
            loss, norm, count = self._update(*controls)
        grad_norm = float(norm)
        skipped = self._may_overflow and not math.isfinite(grad_norm)
        return StepResult(float(loss), grad_norm, int(count), skipped)


def _scalar(value: float) -> Tensor:
    return Tensor(value, ms.float32)
