from __future__ import annotations

from typing import Any

import pytest

from pangu_alpha.cluster.preflight.recipe import check_mesh, recipe_hash


def test_a_mesh_that_fits(recipe: Any) -> None:
    (finding,) = check_mesh(recipe("parallel={dp: 2, mp: 4, pp: 4}"))
    assert finding.state == "ok"
    assert "dp 2 × mp 4 × pp 4 = 32 devices" in finding.found


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["parallel.pp=4", "train.num_micro_batches=2"], "num_micro_batches(2) < pp(4)"),
        (["parallel.pp=8", "train.num_micro_batches=8"], "8 > num_layers(4)"),
    ],
)
def test_a_mesh_that_does_not(recipe: Any, overrides: list[str], said: str) -> None:
    (finding,) = check_mesh(recipe(*overrides))
    assert finding.state == "bad"
    assert said in finding.found
    assert "parallel" in finding.fix or "num_micro_batches" in finding.fix


def test_the_hash_follows_the_settings_and_not_how_they_are_written(recipe: Any) -> None:
    assert recipe_hash(recipe()) == recipe_hash(recipe("train.seed=1"))
    assert recipe_hash(recipe()) != recipe_hash(recipe("train.seed=2"))
