"""The class of a recipe: what decides how its programs are made, without the sizes."""

from __future__ import annotations

from functools import cache

from pangu_alpha.config import RunConfig
from pangu_alpha.verification.cases import all_cases

Class = tuple[object, ...]


def class_of(config: RunConfig) -> Class:
    """Equal for two recipes whose programs differ by sizes alone."""
    parallel, number = config.parallel, config.train.num_micro_batches
    return (
        *(size > 1 for size in (parallel.dp, parallel.mp, parallel.pp)),
        *(parallel.optimizer_sharding, parallel.sequence_parallel, parallel.rematerialisation, parallel.schedule),
        parallel.rematerialised_stages is not None,
        "one" if number == 1 else "up to pp" if number <= parallel.pp else "more than pp",
        *(config.model.final_norm, config.model.dropout > 0, config.model.gelu, config.model.compute_dtype),
        config.spikes.skip,
    )


@cache
def executed_classes(with_validation: bool = False) -> frozenset[Class]:
    """Those of the layouts that `pangu verify` executes, or of those whose validation it executes too."""
    cases = [case for case in all_cases() if case.has_validation or not with_validation]
    return frozenset(class_of(case.config(dtype)) for case in cases for dtype in case.compute_dtypes)


def is_executed(config: RunConfig) -> bool:
    """Whether `pangu verify` executes a layout of the recipe's class."""
    return class_of(config) in executed_classes()
