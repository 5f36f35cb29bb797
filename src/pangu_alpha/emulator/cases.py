"""The layouts that `pangu verify` executes, and the small run they are executed on.

The network has everything that can go wrong under a layout: a query layer, the tied word table, a vocabulary that the
slices do not divide, several documents a sample, padding, and micro-batches.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from pangu_alpha.config import (
    LossScaleConfig,
    ModelConfig,
    OptimizerConfig,
    ParallelConfig,
    RunConfig,
    ScheduleConfig,
    TrainConfig,
)
from pangu_alpha.data.batch import Batch, make_batch

NUM_STEPS = 5
BATCH_SIZE = 8
NUM_MICRO_BATCHES = 4
SEQ_LENGTH = 16
VOCAB_SIZE = 97
_EOD, _PAD = 0, 1
ComputeDtype = Literal["float32", "float16"]
COMPUTE_DTYPES: tuple[ComputeDtype, ...] = get_args(ComputeDtype)


@dataclass(frozen=True)
class Case:
    """One layout."""

    parallel: ParallelConfig
    dropout: float = 0.0

    def __str__(self) -> str:
        parallel = self.parallel
        words = [f"dp{parallel.dp} mp{parallel.mp} pp{parallel.pp}"]
        words += ["sharded"] if parallel.optimizer_sharding else []
        words += [parallel.rematerialisation] if parallel.rematerialisation != "none" else []
        words += ["sequence"] if parallel.sequence_parallel else []
        words += ["interleaved"] if parallel.schedule == "interleaved" else []
        words += ["dropout"] if self.dropout else []
        return " ".join(words)

    def config(self, compute_dtype: ComputeDtype) -> RunConfig:
        """The recipe of this layout."""
        return _recipe(self, self.parallel, NUM_MICRO_BATCHES, compute_dtype)

    def reference(self, compute_dtype: ComputeDtype) -> RunConfig:
        """The recipe of the same network on one device, in one piece."""
        return _recipe(self, ParallelConfig(), 1, compute_dtype)


def all_cases(max_ranks: int = 8) -> list[Case]:
    """Every combination that makes sense, and each mesh once more with dropout."""
    cases = []
    for dp, mp, pp in itertools.product((1, 2), (1, 2, 4), (1, 2, 4)):
        if 1 < dp * mp * pp <= max_ranks:
            layouts = list(_layouts(dp, mp, pp))
            cases += [Case(parallel) for parallel in layouts]
            cases.append(Case(layouts[-1], dropout=0.1))
    return cases


def quick_cases() -> list[Case]:
    """A few layouts in which every feature occurs: for tests and for a first look."""
    return [
        Case(ParallelConfig(dp=2, mp=2)),
        Case(ParallelConfig(dp=1, mp=2, pp=2, sequence_parallel=True, rematerialisation="selective")),
        Case(ParallelConfig(dp=2, pp=2, schedule="interleaved", num_chunks=2, rematerialisation="whole"), 0.1),
        Case(ParallelConfig(dp=2, mp=2, pp=2, optimizer_sharding=True)),
    ]


def _layouts(dp: int, mp: int, pp: int) -> list[ParallelConfig]:
    shardings = (False, True) if dp > 1 else (False,)
    sequences = (False, True) if mp > 1 else (False,)
    schedules: tuple[tuple[Literal["1f1b", "interleaved"], int], ...] = (("1f1b", 1),)
    if pp > 1:
        schedules += (("interleaved", 2),)
    rematerialisations: tuple[Literal["none", "selective", "whole"], ...] = ("none", "selective", "whole")
    return [
        ParallelConfig(
            dp=dp,
            mp=mp,
            pp=pp,
            optimizer_sharding=sharding,
            sequence_parallel=sequence,
            rematerialisation=rematerialisation,
            schedule=schedule,
            num_chunks=num_chunks,
        )
        for sharding, sequence, (schedule, num_chunks), rematerialisation in itertools.product(
            shardings, sequences, schedules, rematerialisations
        )
    ]


def batches() -> list[Batch]:
    """The same global batch for every layout, one a step, with different amounts of padding in the rows."""
    made = []
    for step in range(NUM_STEPS):
        rng = np.random.default_rng(step)
        windows = rng.integers(2, VOCAB_SIZE, (BATCH_SIZE, SEQ_LENGTH + 1), dtype=np.int32)
        windows[rng.random(windows.shape) < 0.1] = _EOD
        for row in range(BATCH_SIZE):
            windows[row, SEQ_LENGTH + 1 - row % 5 * 2 :] = _PAD
        keys = rng.integers(0, 2**31 - 1, BATCH_SIZE, dtype=np.int32)
        made.append(make_batch(windows, keys, eod_id=_EOD, pad_id=_PAD))
    return made


def _recipe(case: Case, parallel: ParallelConfig, num_micro_batches: int, compute_dtype: ComputeDtype) -> RunConfig:
    return RunConfig(
        device="ascend",
        model=ModelConfig(
            num_layers=max(4, case.parallel.pp * case.parallel.num_chunks),
            hidden_size=32,
            num_heads=4,
            vocab_size=VOCAB_SIZE,
            seq_length=SEQ_LENGTH,
            final_norm="after_query_layer" if case.parallel.pp > 1 else "before_query_layer",
            dropout=case.dropout,
            compute_dtype=compute_dtype,
        ),
        train=TrainConfig(steps=NUM_STEPS, batch_size=BATCH_SIZE, num_micro_batches=num_micro_batches),
        # A clip that always bites, so that a wrong norm shows in every parameter.
        optimizer=OptimizerConfig(clip_norm=0.5),
        schedule=ScheduleConfig(learning_rate=1e-2, end_learning_rate=1e-3, warmup_steps=0, decay_steps=100),
        # Skips the first and the fourth step. On one device, gradients overflow from a scale of 2¹⁹ on; MindSpore
        # divides them by the ranks of a stage until they are added up, and a layout overflows a little later.
        loss_scale=LossScaleConfig(initial=2.0**30, factor=2.0**16, window=2),
        parallel=parallel,
    )
