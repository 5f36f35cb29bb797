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
"""Samples of a step, or the next multiple of the parts that a layout splits them in."""
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
    num_micro_batches: int = NUM_MICRO_BATCHES
    other_norm: bool = False
    """The final LayerNorm on the other side of the query layer than elsewhere: after it on one stage, else before."""
    gelu: Literal["tanh", "erf"] = "tanh"

    def __str__(self) -> str:
        parallel = self.parallel
        words = [f"dp{parallel.dp} mp{parallel.mp} pp{parallel.pp}"]
        words += ["sharded"] if parallel.optimizer_sharding else []
        words += [parallel.rematerialisation] if parallel.rematerialisation != "none" else []
        words += [f"stages{parallel.rematerialised_stages}"] if parallel.rematerialised_stages else []
        words += ["sequence"] if parallel.sequence_parallel else []
        words += ["interleaved"] if parallel.schedule == "interleaved" else []
        words += ["dropout"] if self.dropout else []
        words += [f"micro{self.num_micro_batches}"] if self.num_micro_batches != NUM_MICRO_BATCHES else []
        words += ["norm"] if self.other_norm else []
        words += ["erf"] if self.gelu == "erf" else []
        return " ".join(words)

    @property
    def has_validation(self) -> bool:
        """Whether the programs of validation are executed too: they do not depend on what the backward pass recomputes,
        and must leave dropout out."""
        return self.parallel.rematerialisation == "none" or self.dropout > 0.0

    @property
    def compute_dtypes(self) -> tuple[ComputeDtype, ...]:
        """Those whose programs are executed: float16, which has all that float32 has, and casts, loss scale and skipped
        steps besides; float32 too on one rank, and of each mesh with dropout and every feature."""
        return COMPUTE_DTYPES if self.dropout > 0.0 or self.parallel.num_devices == 1 else ("float16",)

    def config(self, compute_dtype: ComputeDtype) -> RunConfig:
        """The recipe of this layout."""
        return _recipe(self, self.parallel, self.num_micro_batches, compute_dtype)

    def reference(self, compute_dtype: ComputeDtype) -> RunConfig:
        """The recipe of the same network on one device, in one piece."""
        return _recipe(self, ParallelConfig(), 1, compute_dtype)


def all_cases(max_ranks: int = 8) -> list[Case]:
    """Every combination of the axes that makes sense, each mesh once more with dropout, and `further_cases`."""
    cases = []
    for dp, mp, pp in itertools.product((1, 2), (1, 2, 4), (1, 2, 4)):
        if 1 < dp * mp * pp <= max_ranks:
            layouts = list(_layouts(dp, mp, pp))
            cases += [Case(parallel) for parallel in layouts]
            cases.append(Case(layouts[-1], dropout=0.1))
    return cases + [case for case in further_cases() if case.parallel.num_devices <= max_ranks]


def further_cases() -> list[Case]:
    """What the combinations leave out: one rank, other numbers of micro-batches (one, as many as there are stages, more
    that are no multiple of them), the layouts of the shipped recipes, and of those that are planned for them."""
    return [*_on_one_stage(), *_in_a_pipeline(), *_planned()]


def _on_one_stage() -> list[Case]:
    return [
        Case(ParallelConfig(), num_micro_batches=1),
        Case(ParallelConfig(), num_micro_batches=1, other_norm=True),  # tiny_cpu
        Case(ParallelConfig(), 0.1, num_micro_batches=1, other_norm=True),
        Case(ParallelConfig()),
        Case(ParallelConfig(rematerialisation="whole"), 0.1, num_micro_batches=2),
        Case(ParallelConfig(rematerialisation="selective"), num_micro_batches=3),
        Case(ParallelConfig(dp=2), 0.1, num_micro_batches=1),  # 350m
        Case(ParallelConfig(dp=2), num_micro_batches=2),
        Case(ParallelConfig(dp=2, optimizer_sharding=True), num_micro_batches=1),
        Case(ParallelConfig(dp=2, optimizer_sharding=True, rematerialisation="selective"), num_micro_batches=3),
        Case(ParallelConfig(dp=4, optimizer_sharding=True, rematerialisation="whole"), num_micro_batches=1),
        Case(ParallelConfig(mp=2), num_micro_batches=1),
        Case(ParallelConfig(mp=2, sequence_parallel=True, rematerialisation="selective"), num_micro_batches=1),
        Case(ParallelConfig(mp=2, sequence_parallel=True, rematerialisation="whole"), 0.1, num_micro_batches=3),
        Case(ParallelConfig(mp=2), other_norm=True),
        *(
            Case(ParallelConfig(dp=2, mp=2, optimizer_sharding=True, rematerialisation="whole"), dropout, number)
            for dropout, number in ((0.1, 1), (0.0, 2))  # the first: 2b6, 13b
        ),
        Case(
            ParallelConfig(dp=2, mp=2, optimizer_sharding=True, sequence_parallel=True, rematerialisation="whole"),
            num_micro_batches=1,
        ),
        Case(ParallelConfig(dp=2, mp=4, optimizer_sharding=True, rematerialisation="whole"), num_micro_batches=1),
        Case(ParallelConfig(dp=2, mp=2, optimizer_sharding=True), 0.1, num_micro_batches=1, gelu="erf"),
    ]


def _in_a_pipeline() -> list[Case]:
    return [
        Case(ParallelConfig(pp=2), num_micro_batches=2),
        Case(ParallelConfig(pp=2), num_micro_batches=3),
        Case(ParallelConfig(pp=2), other_norm=True),
        Case(ParallelConfig(pp=2, schedule="interleaved", num_chunks=2), num_micro_batches=2),
        Case(ParallelConfig(pp=2, schedule="interleaved", num_chunks=2), num_micro_batches=3),
        Case(ParallelConfig(dp=2, pp=2, optimizer_sharding=True), num_micro_batches=3),
        Case(
            ParallelConfig(
                dp=2, pp=2, optimizer_sharding=True, rematerialisation="whole", schedule="interleaved", num_chunks=2
            ),
            0.1,
            num_micro_batches=5,
        ),
        Case(ParallelConfig(mp=2, pp=2, sequence_parallel=True, schedule="interleaved", num_chunks=2), 0.0, 8),
        Case(ParallelConfig(pp=4, rematerialisation="whole"), num_micro_batches=6),
        Case(  # 200b_1024, 200b_2048
            ParallelConfig(dp=2, mp=2, pp=2, optimizer_sharding=True, rematerialisation="whole"),
            0.1,
            num_micro_batches=2,
        ),
        Case(ParallelConfig(pp=2, rematerialisation="whole", rematerialised_stages=1)),
        Case(ParallelConfig(mp=2, pp=4, rematerialisation="selective", rematerialised_stages=3), num_micro_batches=6),
    ]


def _planned() -> list[Case]:
    """The classes of what `pangu plan` puts first for the shipped recipes, on 8 to 2,048 cards of two chips."""
    sharded = ParallelConfig(dp=2, optimizer_sharding=True)
    pipeline = sharded.model_copy(update={"pp": 2})
    interleaved = pipeline.model_copy(update={"schedule": "interleaved", "num_chunks": 2})
    cut = interleaved.model_copy(update={"mp": 2, "sequence_parallel": True})
    whole, selective = ({"rematerialisation": kind, "rematerialised_stages": 1} for kind in ("whole", "selective"))
    return [
        Case(sharded, 0.1),
        Case(pipeline, 0.1, other_norm=True),
        Case(pipeline.model_copy(update=whole), 0.1, other_norm=True),
        Case(pipeline.model_copy(update={**whole, "pp": 4, "rematerialised_stages": 2}), 0.1),
        Case(pipeline.model_copy(update={**whole, "mp": 2, "sequence_parallel": True}), 0.1),
        Case(interleaved, 0.1, other_norm=True),
        Case(interleaved.model_copy(update=selective), 0.1, other_norm=True),
        Case(cut, 0.1),
        Case(cut, 0.1, num_micro_batches=2),  # 200b_2048_fast
        Case(cut, 0.1, other_norm=True),
        Case(cut.model_copy(update=whole), 0.1),
        Case(cut.model_copy(update={"rematerialisation": "whole"}), 0.1, num_micro_batches=2),
    ]


def quick_cases() -> list[Case]:
    """A few layouts in which every feature occurs: for tests and for a first look."""
    return [
        Case(ParallelConfig(dp=2, mp=2)),
        Case(ParallelConfig(dp=1, mp=2, pp=2, sequence_parallel=True, rematerialisation="selective")),
        Case(ParallelConfig(dp=2, pp=2, schedule="interleaved", num_chunks=2, rematerialisation="whole"), 0.1),
        Case(ParallelConfig(dp=2, mp=2, pp=2, optimizer_sharding=True)),
        Case(ParallelConfig(rematerialisation="whole"), 0.1, num_micro_batches=2),
        Case(ParallelConfig(dp=2, optimizer_sharding=True), num_micro_batches=1),
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


def batches(batch_size: int = BATCH_SIZE) -> list[Batch]:
    """The same global batch for every layout, one a step, with different amounts of padding in the rows."""
    made = []
    for step in range(NUM_STEPS):
        rng = np.random.default_rng(step)
        windows = rng.integers(2, VOCAB_SIZE, (batch_size, SEQ_LENGTH + 1), dtype=np.int32)
        windows[rng.random(windows.shape) < 0.1] = _EOD
        for row in range(batch_size):
            windows[row, SEQ_LENGTH + 1 - row % 5 * 2 :] = _PAD
        keys = rng.integers(0, 2**31 - 1, batch_size, dtype=np.int32)
        made.append(make_batch(windows, keys, eod_id=_EOD, pad_id=_PAD))
    return made


def _recipe(case: Case, parallel: ParallelConfig, num_micro_batches: int, compute_dtype: ComputeDtype) -> RunConfig:
    is_after = (case.parallel.pp > 1) != case.other_norm
    parts = case.parallel.dp * case.num_micro_batches
    return RunConfig(
        device="ascend",
        model=ModelConfig(
            num_layers=max(4, case.parallel.pp * case.parallel.num_chunks),
            hidden_size=32,
            num_heads=4,
            vocab_size=VOCAB_SIZE,
            seq_length=SEQ_LENGTH,
            final_norm="after_query_layer" if is_after else "before_query_layer",
            dropout=case.dropout,
            compute_dtype=compute_dtype,
            gelu=case.gelu,
        ),
        train=TrainConfig(
            steps=NUM_STEPS,
            batch_size=-(-BATCH_SIZE // parts) * parts,
            num_micro_batches=num_micro_batches,
        ),
        # A clip that always bites, so that a wrong norm shows in every parameter.
        optimizer=OptimizerConfig(clip_norm=0.5),
        schedule=ScheduleConfig(learning_rate=1e-2, end_learning_rate=1e-3, warmup_steps=0, decay_steps=100),
        # Skips the first and the fourth step. On one device, gradients overflow from a scale of 2¹⁹ on; MindSpore
        # divides them by the ranks of a stage until they are added up, and a layout overflows a little later.
        loss_scale=LossScaleConfig(initial=2.0**30, factor=2.0**16, window=2),
        parallel=parallel,
    )
