"""The training step, and the loss of validation, as programs of many Ascend ranks: what MindSpore's compiler is given.

The same network, gradients and update as on one device (`step.py`). Added here: micro-batches inside the program
(pipeline or accumulation), the table's strategies, the stages, and which share of the norm each rank adds.
Every rank gets the whole global batch; MindSpore cuts out its rows, so that no communication is spent on inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, mint, nn, ops
from mindspore.common.lazy_inline import lazy_inline
from mindspore.communication import get_rank
from mindspore.nn.utils import no_init_parameters
from mindspore.parallel.auto_parallel import AutoParallel
from mindspore.parallel.nn import GradAccumulation, Pipeline

from pangu_alpha.config import RunConfig
from pangu_alpha.model import PanguAlpha, PanguAlphaLoss
from pangu_alpha.parallel.parameters import GRADIENT_SUMS, num_padded_rows
from pangu_alpha.parallel.parts import norm_shares
from pangu_alpha.topology.mesh import Mesh
from pangu_alpha.training.apply import (
    exclude_from_optimizer_sharding,
    place_stages,
    rematerialise,
    shard,
)
from pangu_alpha.training.optimizer import AdamW
from pangu_alpha.training.scalars import CONTROLS, may_skip
from pangu_alpha.training.step import Gradients, Update, WholeStep


class SharedLoss(PanguAlphaLoss):
    """The loss as a graph of its own, called once a micro-batch instead of copied: the compile time depends on it."""

    @lazy_inline
    def __init__(self, network: PanguAlpha) -> None:
        super().__init__(network)


class Accumulated(nn.Cell):
    """Gradients that MindSpore has added up over micro-batches in parameters called `accu_grads.*`: reads, clears."""

    def __init__(self, gradients: Gradients, parameters: ParameterTuple, is_sharded: bool) -> None:
        """Args:
        gradients: of a loss over all micro-batches.
        parameters: of the optimizer.
        is_sharded: whether optimizer sharding is on. MindSpore then returns the sums of the ranks' shards, and
            otherwise adds up the ranks in place.
        """
        super().__init__(auto_prefix=False)
        self.gradients = gradients
        self.is_sharded = is_sharded
        self.sums = parameters.clone(prefix=GRADIENT_SUMS.removesuffix("."), init="zeros")
        self.assign = ops.Assign()
        self.copy = ops.Mul()
        self.map = ops.HyperMap()  # not a loop, see `SquaredNorm`

    def construct(self, sens: Tensor, *batch: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `Gradients`."""
        loss_sum, gradients = self.gradients(sens, *batch)
        return loss_sum, self.map(self.take, gradients, self.sums)

    def take(self, gradient: Tensor, total: Tensor) -> Tensor:
        """Read one sum, then clear it."""
        result = self.copy(gradient if self.is_sharded else ops.depend(total, gradient), 1.0)
        total = ops.depend(total, result)
        # Not ops.ZerosLike: the compiler would make a constant of it, as large as all gradients.
        return ops.depend(result, self.assign(total, mint.zeros_like(total)))


class Summed(nn.Cell):
    """Gradients of the rows of each micro-batch, one after the other, added up: for one rank, where MindSpore has no
    parallel mode that would do it."""

    def __init__(self, gradients: Gradients, num_parts: int) -> None:
        """Args:
        gradients: of the loss of one micro-batch.
        num_parts: micro-batches.
        """
        super().__init__(auto_prefix=False)
        self.gradients = gradients
        self.num_parts = num_parts
        self.add = ops.Add()
        self.map = ops.HyperMap()

    def construct(self, sens: Tensor, *batch: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `Gradients`."""
        num_rows = batch[0].shape[0] // self.num_parts
        loss_sum, sums = self.part(sens, batch, 0, num_rows)
        for number in range(1, self.num_parts):
            loss, gradients = self.part(sens, batch, number * num_rows, num_rows)
            loss_sum, sums = self.add(loss_sum, loss), self.map(self.add, sums, gradients)
        return loss_sum, sums

    def part(
        self, sens: Tensor, batch: tuple[Tensor, ...], begin: int, num_rows: int
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Loss sum and gradients of the rows from `begin` on."""
        rows: tuple[Tensor, ...] = ()
        for item in batch:
            rows += (item[begin : begin + num_rows],)
        return self.gradients(sens, *rows)


class RankStep(nn.Cell):
    """`WholeStep` with its scalars as parameters called `control.*`, to be set before each step.

    As inputs beside the batch, with which something is computed, they would hide the pipeline from MindSpore.
    """

    def __init__(self, step: WholeStep) -> None:
        super().__init__(auto_prefix=False)
        self.step = step
        self.controls = ParameterTuple(
            [Parameter(Tensor(0.0, ms.float32), name=name, requires_grad=False) for name in CONTROLS]
        )

    def construct(self, *batch: Tensor) -> Tensor:
        """See `Update`; `batch` is the whole global batch."""
        sens, count, learning_rate, eps, weight_decay, largest_loss, largest_norm = self.controls
        return self.step(sens, count, learning_rate, eps, weight_decay, largest_loss, largest_norm, *batch)


class RankLoss(nn.Cell):
    """Loss sum of a whole batch, forward only; a Cell of its own, because it is compiled out of training.

    Known to the ranks of the last stage: MindSpore takes no communication beyond its own in a forward program.
    """

    def __init__(self, loss: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.loss = loss

    def construct(self, *batch: Tensor) -> Tensor:
        """Float32 scalar; `batch` is the whole global batch."""
        return self.loss(*batch)


class RankLossBesideGradients(nn.Cell):
    """The same under the interleaved schedule, where MindSpore's compiler crashes on a forward-only program: the
    backward pass is there too, and its gradients are thrown away."""

    def __init__(self, gradients: Accumulated) -> None:
        super().__init__(auto_prefix=False)
        self.gradients = gradients

    def construct(self, *batch: Tensor) -> Tensor:
        """See `RankLoss`."""
        loss_sum, gradients = self.gradients(Tensor(1.0, ms.float32), *batch)
        return ops.depend(loss_sum, gradients)


@dataclass(frozen=True)
class RankPrograms:
    """What this process's rank computes, each to be called with a whole global batch. They share the parameters.

    `step` must be compiled first: its layout is that of the parameters.
    """

    step: nn.Cell
    """See `RankStep`."""
    validation: nn.Cell
    """See `RankLoss`."""
    loss: nn.Cell
    """Of the network, in both."""
    has_gradients: bool
    """Whether there is a backward pass in `validation`."""

    @contextmanager
    def validating(self) -> Iterator[nn.Cell]:
        """Inside, dropout is left out, and `validation` may be compiled and called."""
        self.validation.set_train(self.has_gradients)
        self.loss.set_train(False)
        yield self.validation
        self.step.set_train()


def rank_programs(config: RunConfig) -> RankPrograms:
    """The programs of this process's rank.

    Call it where MindSpore's target is Ascend and communication is initialised. Parameters have no values yet.
    """
    mesh = Mesh.of(config.parallel)
    num_parts = config.train.num_micro_batches
    with no_init_parameters():
        network = PanguAlpha(config.model, num_padded_rows(config.model.vocab_size, mesh.mp))
        loss = SharedLoss(network) if num_parts > 1 else PanguAlphaLoss(network)
        shard(loss, mesh)
        rematerialise(loss, config)
        if config.parallel.optimizer_sharding:
            exclude_from_optimizer_sharding(network)
        if mesh.pp > 1:
            place_stages(loss, config)
        parameters = network.trainable_params()
        optimizer = AdamW(parameters, config.optimizer, may_skip(config))
        gradients = _gradients(loss, optimizer.parameters, mesh, num_parts, config.parallel.optimizer_sharding)
        if mesh.num_ranks > 1:
            stage = mesh.place(get_rank()).stage
            shares = norm_shares([item.name for item in parameters], config.model, config.parallel, stage)
            update = Update(optimizer, config.spikes.skip, shares, loss_share=1.0 / mesh.num_stage_ranks)
        else:
            update = Update(optimizer, config.spikes.skip)
        step = RankStep(WholeStep(gradients, update, reduce=None)).set_train()
        is_interleaved = config.parallel.schedule == "interleaved"
        forward = Pipeline(loss, num_parts) if mesh.pp > 1 else loss
        validation = RankLossBesideGradients(gradients) if is_interleaved else RankLoss(forward)
    step, validation = (_in_parallel(cell, config, mesh) for cell in (step, validation))
    return RankPrograms(step, validation, loss, has_gradients=is_interleaved)


def _in_parallel(cell: nn.Cell, config: RunConfig, mesh: Mesh) -> nn.Cell:
    """`cell` as one program of many ranks, where there are many: MindSpore has no parallel mode for one."""
    if mesh.num_ranks == 1:
        return cell
    program = AutoParallel(cell, parallel_mode="semi_auto")
    program.no_init_parameters_in_compile()
    program.dataset_strategy("full_batch")
    if mesh.pp > 1:
        program.pipeline(stages=mesh.pp, interleave=config.parallel.schedule == "interleaved", scheduler="1f1b")
    if config.parallel.optimizer_sharding:
        program.hsdp(threshold=0, optimizer_level="level1")
    return program


def example_inputs(config: RunConfig) -> tuple[Tensor, ...]:
    """Inputs of the right shapes and types, for compiling."""
    rows, length = config.train.batch_size, config.model.seq_length
    ids = Tensor(np.zeros((rows, length), np.int32))
    return ids, ids, ids, ids, Tensor(np.ones((rows, length), np.float32)), Tensor(np.zeros(rows, np.int32))


def _gradients(
    loss: PanguAlphaLoss, parameters: ParameterTuple, mesh: Mesh, num_parts: int, is_sharded: bool
) -> nn.Cell:
    if mesh.pp > 1:
        return Accumulated(Gradients(Pipeline(loss, num_parts), parameters), parameters, is_sharded)
    if num_parts > 1 and mesh.num_ranks == 1:
        return Summed(Gradients(loss, parameters), num_parts)
    if num_parts > 1:
        return Accumulated(Gradients(GradAccumulation(loss, num_parts), parameters), parameters, is_sharded)
    return Gradients(loss, parameters)
