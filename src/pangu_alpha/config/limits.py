"""What MindSpore 2.10 cannot lay out, or lays out wrongly: each a sentence with the arithmetic, or None.

Found by compiling and executing programs.
"""

from __future__ import annotations

from pangu_alpha.config.sections import ModelConfig, ParallelConfig, TrainConfig


def layers_problem(model: ModelConfig, parallel: ParallelConfig) -> str | None:
    """Fewer layers than runs of layers."""
    num_runs = parallel.pp * parallel.num_chunks
    if num_runs <= model.num_layers:
        return None
    return (
        f"pp({parallel.pp}) × num_chunks({parallel.num_chunks}) = {num_runs} > num_layers({model.num_layers}): "
        "every stage needs a layer in every chunk; lower parallel.pp or parallel.num_chunks"
    )


def groups_problem(parallel: ParallelConfig) -> str | None:
    """A group of ranks that MindSpore does not create on Ascend.

    It counts ranks in servers of 8, and a group must have the same places on each of its servers: 1, 2, 4 or 8 of them.
    As ranks are numbered stage by stage, that is so when each product below is 1, 2, 4 or a multiple of 8.
    """
    dp, mp, pp = parallel.dp, parallel.mp, parallel.pp
    for words, size in (
        (f"parallel.mp({mp})", mp),
        (f"parallel.dp({dp}) × parallel.mp({mp}) = {dp * mp}", dp * mp),
        (f"parallel.dp({dp}) × parallel.mp({mp}) × parallel.pp({pp}) = {dp * mp * pp}", dp * mp * pp),
    ):
        if size not in (1, 2, 4) and size % 8:
            return (
                f"{words} is none of 1, 2, 4 or a multiple of 8: MindSpore does not create such groups of ranks on "
                "servers of 8 devices; choose parallel.dp, mp and pp so that mp, dp × mp and dp × mp × pp are"
            )
    return None


def vocabulary_problem(model: ModelConfig, parallel: ParallelConfig) -> str | None:
    """Slices of the word table of one row: MindSpore's gradients of the loss are wrong."""
    if parallel.mp == 1 or model.vocab_size > parallel.mp:
        return None
    return (
        f"model.vocab_size({model.vocab_size}) ≤ parallel.mp({parallel.mp}): each slice of the word table would have "
        "one row, and MindSpore computes wrong gradients for it; lower parallel.mp"
    )


def rows_problem(model: ModelConfig, train: TrainConfig, parallel: ParallelConfig) -> str | None:
    """Rows that sequence parallelism cannot split."""
    if not parallel.sequence_parallel:
        return None
    samples = train.batch_size // train.num_micro_batches
    rows, parts = samples * model.seq_length, parallel.dp * parallel.mp
    if rows % parts == 0:
        return None
    return (
        f"train.batch_size({train.batch_size}) ÷ train.num_micro_batches({train.num_micro_batches}) × "
        f"model.seq_length({model.seq_length}) = {rows} rows of a micro-batch ÷ (parallel.dp({parallel.dp}) × "
        f"parallel.mp({parallel.mp})) is not whole: sequence parallelism splits the rows over all {parts} ranks of a "
        "stage; choose a model.seq_length that parallel.mp divides"
    )
