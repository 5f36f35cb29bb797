"""Training with MindSpore in this process, alone or as one of several data-parallel ones."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import xxhash
from mindspore import Tensor
from numpy.typing import NDArray

from pangu_alpha.config import RunConfig
from pangu_alpha.data import Batch
from pangu_alpha.errors import LayoutError
from pangu_alpha.model import PanguAlpha
from pangu_alpha.model.dtypes import compute_dtype
from pangu_alpha.parallel.parts import Box
from pangu_alpha.runtime.matmul_rate import matmul_rate
from pangu_alpha.training.backend import Backend, Read
from pangu_alpha.training.result import StepResult
from pangu_alpha.training.scalars import UpdateScalars
from pangu_alpha.training.step import TrainStep
from pangu_alpha.training.validation import LossEvaluator
from pangu_alpha.training.workers import Alone, Workers


class ProcessStep:
    """`TrainStep` on this process's rows of every batch, see `Step`."""

    def __init__(self, network: PanguAlpha, config: RunConfig, workers: Workers | None = None, rank: int = 0) -> None:
        """Args:
        network: with its weights.
        config: of the run.
        workers: the data-parallel processes; None: there is just this one.
        rank: of this one.
        """
        self._step = TrainStep(network, config)
        optimizer = self._step.optimizer
        parameters = [*network.trainable_params(), *optimizer.first_moments, *optimizer.second_moments]
        self._parameters = {item.name: item for item in parameters}
        self._config, self._workers, self._rank = config, workers or Alone(), rank

    def __call__(self, batch: Batch, num_tokens: int, scalars: UpdateScalars, loss_scale: float) -> StepResult:
        """See `Step`."""
        return self._step(list(self._micro_batches(batch)), num_tokens, scalars, loss_scale)

    @property
    def ranks(self) -> tuple[int]:
        """See `Step`."""
        return (self._rank,)

    def tensors(self, names: Sequence[str] | None = None) -> dict[str, NDArray[np.floating]]:
        """Weights and moments, whole; None: all of them."""
        return {name: self._parameters[name].asnumpy() for name in names or self._parameters}

    def values(self, rank: int, boxes: Mapping[str, Box]) -> Iterator[NDArray[np.floating]]:
        """See `Step`. Every process holds everything."""
        for name, box in boxes.items():
            yield self._parameters[name].asnumpy()[box.index]

    def require_equal_copies(self) -> None:
        """See `Step`."""
        digests = {
            name: xxhash.xxh3_128_hexdigest(np.ascontiguousarray(item.asnumpy()).data)
            for name, item in self._parameters.items()
        }
        if differing := self._workers.decide(json.dumps(digests), _differing):
            raise LayoutError(
                f"{differing} is not the same on all processes, which have added up the same gradients: the hardware "
                "or a library computes wrongly on one of them. The last checkpoint was compared and is good"
            )

    def load(self, read: Read) -> None:
        """See `Step`."""
        for name, item in self._parameters.items():
            item.set_data(Tensor(read(name, Box.all_of(item.shape))))

    def _micro_batches(self, batch: Batch) -> Iterator[Batch]:
        """This rank's rows. Micro-batch m of all ranks together is the m-th part of the global batch."""
        num_parts, dp = self._config.train.num_micro_batches, self._config.parallel.dp
        rows = len(batch.input_ids) // (num_parts * dp)
        for part in range(num_parts):
            first = (part * dp + self._rank) * rows
            yield batch.rows(first, first + rows)


def process_backend(network: PanguAlpha, config: RunConfig, rank: int, workers: Workers) -> Backend:
    """The backend of this process. The device is set and the workers are joined already.

    Args:
        network: with its starting weights.
        config: of the run.
        rank: this process's number among the data-parallel ones.
        workers: what these agree by.
    """
    return Backend(
        step=ProcessStep(network, config, workers, rank),
        workers=workers,
        is_main=rank == 0,
        mean_loss=LossEvaluator(network, config.parallel.dp, rank).mean_loss,
        # Over a second of work, for a number that only rank 0 writes down.
        matmul_flops=math.nan if rank else matmul_rate(config.device, compute_dtype(config.model)) * config.parallel.dp,
    )


def _differing(texts: Sequence[str]) -> str:
    """The first tensor of which the processes have different digests; empty when there is none."""
    first, *others = map(json.loads, texts)
    return next((name for name in first if any(other[name] != first[name] for other in others)), "")
