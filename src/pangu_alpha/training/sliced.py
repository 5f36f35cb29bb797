"""A rank of many Ascend devices: its programs on this process's device, and the slices of tensors that it holds.

MindSpore's traps here, each guarded: a whole tensor that is given to a slice is accepted, a parameter that was never
filled is used as it is, and the parameters of other stages are still there, whole, and read as zeros. So the parameters
of this rank are those of the table, their shapes and places are compared with MindSpore's own layout, and all of them
are filled before the first step.
"""

from __future__ import annotations

import json
import math
import os
import resource
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import mindspore as ms
import numpy as np
import xxhash
from mindspore import Tensor
from mindspore.communication import get_group_size, get_world_rank_from_group_rank
from numpy.typing import NDArray

from pangu_alpha.config import RunConfig
from pangu_alpha.data import Batch, HeldOut
from pangu_alpha.errors import LayoutError
from pangu_alpha.model import batch_tensors
from pangu_alpha.model.dtypes import compute_dtype
from pangu_alpha.parallel.layout_rows import LayoutRow, optimizer_group, require_parts
from pangu_alpha.parallel.parameters import GRADIENT_SUMS
from pangu_alpha.parallel.parts import Box, held_tensors, sharers, without_padding
from pangu_alpha.parallel.start import starting_values
from pangu_alpha.runtime.matmul_rate import matmul_rate
from pangu_alpha.training.backend import Backend, Read
from pangu_alpha.training.distributed import example_inputs, rank_programs
from pangu_alpha.training.result import StepResult, step_result
from pangu_alpha.training.scalars import CONTROLS, UpdateScalars, control_values
from pangu_alpha.training.workers import Workers

_NOT_STATE = (GRADIENT_SUMS, *CONTROLS)
"""What the names of parameters begin with that belong to no network."""


class SlicedStep:
    """The step of this process's rank, see `Step`."""

    def __init__(self, config: RunConfig, rank: int, workers: Workers) -> None:
        """Build and compile. The parameters have no values until `load`.

        Args:
            config: of the run.
            rank: of this process.
            workers: all ranks of the job.

        Raises:
            LayoutError: MindSpore cuts a parameter otherwise than the table of parameters.
        """
        self._config, self._rank, self._workers = config, rank, workers
        self.seconds: dict[str, float] = {}
        """What the start has taken, by its parts."""
        with self.timed("build"):
            self.programs = rank_programs(config)
        with self.timed("compile"):
            self.programs.step.compile(*example_inputs(config))
        named = {item.name: item for item in self.programs.step.get_parameters()}
        layout = self.programs.step.parameter_layout_dict
        self._held = held_tensors(config.model, config.parallel, rank)
        shapes = {name: tuple(item.shape) for name, item in named.items() if not name.startswith(_NOT_STATE)}
        require_parts(self._held, shapes, layout, rank, _groups(layout.values()))
        self._parameters = {name: named[name] for name in self._held}
        self._controls = [named[name] for name in CONTROLS]
        self._sums = [item for name, item in named.items() if name.startswith(GRADIENT_SUMS) and name in layout]

    def __call__(self, batch: Batch, num_tokens: int, scalars: UpdateScalars, loss_scale: float) -> StepResult:
        """See `Step`. All ranks get the same loss and norm, which the program adds up over them."""
        values = control_values(self._config, num_tokens, scalars, loss_scale)
        for item, value in zip(self._controls, values, strict=True):
            item.set_data(Tensor(value, ms.float32))
        loss, norm = map(float, self.programs.step(*batch_tensors(batch)).asnumpy())
        return step_result(self._config, loss, norm, num_tokens, scalars.limits)

    @property
    def ranks(self) -> tuple[int]:
        """See `Step`."""
        return (self._rank,)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Inside, the start is at `part`."""
        begin = time.monotonic()
        yield
        self.seconds[part] = time.monotonic() - begin

    def load(self, read: Read) -> None:
        """See `Step`. Padding becomes 0, and so do the sums of gradients, with which a step begins."""
        with self.timed("fill"):
            self._fill(read)

    def _fill(self, read: Read) -> None:
        for name, held in self._held.items():
            values = np.zeros(held.box.shape, np.float32)
            box = without_padding(name, held, self._config.model)
            if box.num_elements:
                values[box.index_in(held.box)] = read(name, box)
            self._parameters[name].set_data(Tensor.from_numpy(values), slice_shape=True)
        for item in self._sums:
            # Not a copy: zeros that nobody has touched take no memory on the host, and these are gigabytes.
            item.set_data(Tensor.from_numpy(np.zeros(item.shape, np.float32)), slice_shape=True)

    def values(self, rank: int, boxes: Mapping[str, Box]) -> Iterator[NDArray[np.floating]]:
        """See `Step`."""
        for name, box in boxes.items():
            yield self._parameters[name].asnumpy()[box.index_in(self._held[name].box)]

    def require_equal_copies(self) -> None:
        """See `Step`. One digest for all tensors that the same ranks hold; only where two differ, one for each."""
        groups = sharers(self._config.model, self._config.parallel, self._rank)
        digests = {key: self._digest(names) for key, names in groups.items()}
        differing = json.loads(self._workers.decide(json.dumps([self._rank, digests]), _differing))
        if not differing:
            return
        key, *_ = differing
        single = {name: self._digest([name]) for name in groups.get(key, ())}
        found = json.loads(self._workers.decide(json.dumps([self._rank, single]), _differing))
        name, ranks = next(iter(found.items()), (key, differing[key]))
        raise LayoutError(
            f"{name} is not the same on ranks {ranks[0]} and {ranks[1]}, which hold the same part of it: the hardware "
            "or a library computes wrongly on one of them. The last checkpoint was compared and is good"
        )

    def _digest(self, names: Iterable[str]) -> str:
        digest = xxhash.xxh3_128()
        for name in names:
            digest.update(np.ascontiguousarray(self._parameters[name].asnumpy()).data)
        return digest.hexdigest()


class SlicedValidation:
    """Mean loss over held-out data, without dropout, by the ranks' forward-only programs."""

    def __init__(self, step: SlicedStep, config: RunConfig, workers: Workers) -> None:
        """Compile the program on the parameters of `step`."""
        self._programs, self._workers = step.programs, workers
        with step.timed("compile_validation"), self._programs.validating() as program:
            program.compile(*example_inputs(config))

    def mean_loss(self, data: HeldOut) -> float:
        """Token-weighted mean over all of `data`, in nats. All ranks must ask, and get the same."""
        loss = count = 0.0
        with self._programs.validating() as program:
            for index in range(data.num_batches):
                batch = data.batch(index)
                loss += float(program(*batch_tensors(batch)).asnumpy())
                count += float(batch.loss_mask.sum())
        # The last rank is of the last stage, which alone knows the loss.
        return float(self._workers.decide(repr(loss / count), lambda means: means[-1]))


def rank_backend(config: RunConfig, measures: bool, rank: int, workers: Workers) -> Backend:
    """The backend of one rank of many, with the starting values. The device is set and the ranks are joined already.

    Args:
        config: of the run.
        measures: whether `Backend.mean_loss` will be asked.
        rank: of this process.
        workers: all ranks of the job.

    Raises:
        LayoutError: MindSpore cuts a parameter otherwise than the table of parameters.
    """
    step = SlicedStep(config, rank, workers)
    step.load(starting_values(config))
    validation = SlicedValidation(step, config, workers) if measures else None
    # A rehearsed device multiplies nothing.
    is_measured = rank == 0 and "MS_SIMULATION_LEVEL" not in os.environ
    rate = matmul_rate(config.device, compute_dtype(config.model)) if is_measured else math.nan
    return Backend(
        step=step,
        workers=workers,
        is_main=rank == 0,
        mean_loss=None if validation is None else validation.mean_loss,
        matmul_flops=rate * config.parallel.num_devices,
        account=lambda: {
            **{f"{name}_seconds": seconds for name, seconds in step.seconds.items()},
            "host_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "device_bytes": int(ms.runtime.max_memory_allocated()),
        },
    )


def _groups(rows: Iterable[LayoutRow]) -> dict[str, tuple[int, ...]]:
    """The members of each group of ranks that shares the optimizer of a tensor."""
    names = {optimizer_group(row) for row in rows} - {""}
    return {
        name: tuple(get_world_rank_from_group_rank(name, number) for number in range(get_group_size(name)))
        for name in names
    }


def _differing(texts: Sequence[str]) -> str:
    """By key, the first two ranks that have different digests of it. All as JSON."""
    first: dict[str, tuple[int, str]] = {}
    found: dict[str, tuple[int, int]] = {}
    for rank, digests in map(json.loads, texts):
        for key, digest in digests.items():
            other, known = first.setdefault(key, (rank, digest))
            if known != digest:
                found.setdefault(key, (other, rank))
    return json.dumps(found)
