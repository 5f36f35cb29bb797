from __future__ import annotations

from typing import Any

from pangu_alpha.cluster.preflight.recipe import check_mesh, recipe_hash


def test_a_mesh_that_fits(recipe: Any) -> None:
    (finding,) = check_mesh(recipe("parallel={dp: 2, mp: 4, pp: 4}"))
    assert finding.state == "ok"
    assert "dp 2 × mp 4 × pp 4 = 32 devices" in finding.found


def test_a_mesh_that_does_not(recipe: Any) -> None:
    (finding,) = check_mesh(recipe("parallel.pp=4", "train.num_micro_batches=2"))
    assert finding.state == "bad"
    assert "num_micro_batches(2) < pp(4)" in finding.found
    assert "parallel" in finding.fix or "num_micro_batches" in finding.fix


def test_the_hash_follows_the_settings_and_not_how_they_are_written(recipe: Any) -> None:
    assert recipe_hash(recipe()) == recipe_hash(recipe("train.seed=1"))
    assert recipe_hash(recipe()) != recipe_hash(recipe("train.seed=2"))
