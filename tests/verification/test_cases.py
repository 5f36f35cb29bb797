"""The layouts that are verified: none forgotten, none twice."""

from __future__ import annotations

import argparse

import pytest

from pangu_alpha.cli.verify import add_arguments
from pangu_alpha.config import list_recipes, load_config
from pangu_alpha.planner.hardware import load_hardware
from pangu_alpha.planner.search import Search
from pangu_alpha.verification.cases import (
    SEQ_LENGTH,
    VOCAB_SIZE,
    all_cases,
    batches,
    further_cases,
    quick_cases,
)
from pangu_alpha.verification.classes import class_of, executed_classes


@pytest.mark.parametrize("recipe", list_recipes())
def test_the_layout_of_every_shipped_recipe_is_executed(recipe: str) -> None:
    assert class_of(load_config(recipe)) in executed_classes()


@pytest.mark.parametrize("recipe", list_recipes())
def test_so_is_the_validation_of_every_shipped_recipe(recipe: str) -> None:
    assert class_of(load_config(recipe)) in executed_classes(with_validation=True)


@pytest.mark.parametrize(
    ("recipe", "num_devices", "batch_size"),
    [("350m", 8, 512), ("2b6", 16, 512), ("13b", 16, 1024), ("200b_2048", 2048, 256), ("200b_2048", 2048, 1536)],
)
def test_so_is_what_is_planned_for_it(recipe: str, num_devices: int, batch_size: int) -> None:
    chip = load_hardware("910a")
    best = Search(load_config(recipe), num_devices, chip, chip.memory_bytes, batch_size, num_best=1).run().best[0]
    assert class_of(best.config) in executed_classes(with_validation=True), best.layout


def test_all_numbers_of_micro_batches_are_there() -> None:
    cases = all_cases()
    on_one_rank = {case.num_micro_batches for case in cases if case.parallel.num_devices == 1}
    assert on_one_rank == {1, 2, 3, 4}
    for schedule in ("1f1b", "interleaved"):
        numbers = {
            (case.num_micro_batches, case.parallel.pp)
            for case in cases
            if case.parallel.pp > 1 and case.parallel.schedule == schedule
        }
        assert any(number == pp for number, pp in numbers)
        assert any(number > pp and number % pp == 0 for number, pp in numbers)
        assert any(number > pp and number % pp for number, pp in numbers)
    for case in cases:
        for config in (case.config("float32"), case.reference("float32")):
            assert len(batches(config.train.batch_size)[0].input_ids) == config.train.batch_size >= 8


def test_every_combination_of_up_to_8_ranks_is_there_once() -> None:
    names = [str(case) for case in all_cases()]
    assert len(set(names)) == len(names)
    cases = all_cases()[: -len(further_cases())]
    names = [str(case) for case in cases]
    meshes = {(case.parallel.dp, case.parallel.mp, case.parallel.pp) for case in cases}
    assert meshes == {(dp, mp, pp) for dp in (1, 2) for mp in (1, 2, 4) for pp in (1, 2, 4) if 1 < dp * mp * pp <= 8}
    # 2 shardings × 2 kinds of rows × 2 schedules × 3 rematerialisations, and one with dropout
    assert sum(name.startswith("dp2 mp2 pp2") for name in names) == 25
    assert sum(name.startswith("dp1 mp1 pp2") for name in names) == 7


def test_a_first_look_holds_every_feature() -> None:
    parallels = [case.parallel for case in quick_cases()]
    assert {str(case) for case in quick_cases()} - {str(case) for case in all_cases()} <= {
        str(case) for case in quick_cases() if case.dropout
    }
    for feature in ("optimizer_sharding", "sequence_parallel"):
        assert any(getattr(parallel, feature) for parallel in parallels)
    assert {parallel.rematerialisation for parallel in parallels} == {"none", "selective", "whole"}
    assert {parallel.schedule for parallel in parallels} == {"1f1b", "interleaved"}
    assert any(case.dropout for case in quick_cases())


def test_the_run_holds_what_can_go_wrong() -> None:
    assert VOCAB_SIZE % 2
    for batch in batches():
        assert batch.document_ids.max() > 0
        counted = batch.loss_mask.sum(axis=1)
        assert counted.min() < counted.max() == SEQ_LENGTH
        micro_batches = counted.reshape(4, -1).sum(axis=1)
        assert len(set(micro_batches.tolist())) > 1


def test_the_help_counts_the_layouts() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert f"of {len(all_cases())} layouts" in str(parser.description)
    assert f"all {len(all_cases())} layouts" in str(parser.epilog)
    assert len(quick_cases()) == 6 and "six layouts" in parser.format_help()
