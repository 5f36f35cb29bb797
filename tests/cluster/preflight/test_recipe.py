from __future__ import annotations

from typing import Any

import pytest

from pangu_alpha.cluster.preflight.recipe import check_recipe, recipe_hash


def test_a_recipe_that_can_be_trained(recipe: Any) -> None:
    (finding,) = check_recipe(recipe("parallel.dp=2"))
    assert finding.state == "ok"
    assert "dp 2 × mp 1 × pp 1 = 2 devices" in finding.found


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["parallel.mp=2"], ["parallel.mp=2 and parallel.pp=1"]),
        (["parallel.pp=4", "train.num_micro_batches=2"], ["parallel.pp=4", "num_micro_batches(2) < pp(4)"]),
        (["data.train=[]"], ["data.train names no token file"]),
        (["data.mix=paper_200b"], ["encyclopedia"]),
    ],
)
def test_each_reason_against_a_recipe_is_named(recipe: Any, overrides: list[str], said: list[str]) -> None:
    findings = check_recipe(recipe(*overrides))
    assert [finding.state for finding in findings] == ["bad"] * len(said)
    assert all(part in finding.found for part, finding in zip(said, findings, strict=True))
    assert all(finding.fix for finding in findings)


def test_the_hash_follows_the_settings_and_not_how_they_are_written(recipe: Any) -> None:
    assert recipe_hash(recipe()) == recipe_hash(recipe("train.seed=1"))
    assert recipe_hash(recipe()) != recipe_hash(recipe("train.seed=2"))
