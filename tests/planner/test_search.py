from dataclasses import replace

import pytest

from pangu_alpha.config import RunConfig, load_config
from pangu_alpha.planner.hardware import load_hardware
from pangu_alpha.planner.peak import stage_peaks
from pangu_alpha.planner.search import Search, found_of, single_changes
from pangu_alpha.planner.space import Layout, layouts, meshes, on_first_stages, refusal
from pangu_alpha.planner.step import account, price_recipe

CHIP = load_hardware("910a")
RECIPE = load_config("2b6", ["model.num_layers=4", "parallel.dp=8", "parallel.mp=1", "train.batch_size=8"])
DEVICES, BATCH = 8, 8
GIB = 2**30


def search(memory: float = 30, recipe: RunConfig = RECIPE, num_best: int = 5) -> Search:
    return Search(recipe, DEVICES, CHIP, int(memory * GIB), recipe.train.batch_size, num_best)


def everything(memory: float) -> list[tuple[float, int, Layout]]:
    """Every layout, each validated, weighed and executed for itself: what the search must have found."""
    found = []
    for mesh in meshes(DEVICES):
        for whole in [] if refusal(RECIPE, mesh, BATCH) else layouts(RECIPE, mesh, BATCH):
            plain = replace(whole, rematerialisation="none").config(RECIPE, BATCH)
            is_roomy = max(peak.num_bytes for peak in stage_peaks(plain)) <= memory * GIB
            for layout in (whole, *(on_first_stages(whole, 1) if not is_roomy else ())):
                config = RunConfig.model_validate(layout.config(RECIPE, BATCH).model_dump())
                most = max(peak.num_bytes for peak in stage_peaks(config))
                if most <= memory * GIB:
                    found.append((account(price_recipe(config, CHIP)).seconds, most, layout))
    return sorted(found, key=lambda item: item[:2])


def test_nothing_that_is_faster_is_left_out() -> None:
    """Against all layouts, none pruned and none from a cache; each is a recipe that config accepts."""
    for memory in (30.0, 3.0, 2.0):
        expected, result = everything(memory), search(memory).run()
        assert any(layout.rematerialised_stages for _, _, layout in expected) == (memory < 30)
        assert [item.account.seconds for item in result.best] == pytest.approx([item[0] for item in expected[:5]])
        assert result.num_layouts - result.num_too_large == len(expected)
        front: list[tuple[float, int, Layout]] = []
        for item in expected:
            if not front or item[1] < front[-1][1]:
                front.append(item)
        assert [item.num_bytes for item in result.front] == [item[1] for item in front]


def test_the_counts_add_up_to_all_meshes() -> None:
    result = search().run()
    assert result.num_meshes == len(list(meshes(DEVICES))) == 10
    refused = sum(item.count for item in result.refused.values())
    assert refused == sum(refusal(RECIPE, mesh, BATCH) is not None for mesh in meshes(DEVICES)) > 0
    assert "= 8 > num_layers(4)" in result.refused["more stages than layers"].example


def test_what_may_not_be_proposed_is_counted_and_left_out() -> None:
    everything = search().run()
    chosen = search()
    chosen.allows = lambda config: config.parallel.rematerialisation == "whole"
    result = chosen.run()
    assert {item.layout.rematerialisation for item in result.best} == {"whole"}
    assert result.num_layouts == everything.num_layouts == 3 * (result.num_layouts - result.num_not_allowed)
    tight = search(memory=2.0)
    tight.allows = lambda config: False
    none = tight.run()
    # Those that leave out a stage which is too full are counted as too large without a look at what they are.
    assert none.best == [] and none.num_layouts == none.num_not_allowed + none.num_too_large > everything.num_layouts


def test_less_memory_gives_another_layout_or_none() -> None:
    result = search(memory=0.5).run()
    assert result.best == [] and result.num_too_large == result.num_layouts
    assert result.nearest is not None and result.nearest[1] > 0.5 * GIB


def test_a_group_that_mindspore_does_not_create_is_no_layout() -> None:
    mesh = Layout(dp=3, mp=1, pp=1)
    found = refusal(RECIPE.model_copy(update={"train": RECIPE.train.model_copy(update={"batch_size": 33})}), mesh, 33)
    assert found is not None and "does not create its groups" in found[0] and "dp(3)" in found[1]


def test_the_recipes_own_layout_is_accounted_as_any_other() -> None:
    own = found_of(RECIPE, CHIP)
    assert own.layout == Layout.of(RECIPE)
    assert own.num_bytes == max(peak.num_bytes for peak in stage_peaks(RECIPE))
    assert own.account == account(price_recipe(RECIPE, CHIP))


def test_a_single_change_is_one() -> None:
    own = Layout.of(RECIPE)
    assert own.changes(own) == []
    assert own.changes(replace(own, mp=2, dp=4)) == ["mesh"]
    assert own.changes(replace(own, mp=2, dp=2, pp=2)) == ["mesh", "mesh"]
    assert own.changes(replace(own, mp=2, dp=4, sequence_parallel=True)) == ["mesh", "sequence_parallel"]
    changed = single_changes(RECIPE, CHIP, lambda _: True)
    kinds = [change for item in changed for change in own.changes(item.layout)]
    assert len(kinds) == len(changed) == len(set(kinds)) > 1
    assert all(item.layout.mp == 1 for item in single_changes(RECIPE, CHIP, lambda item: item.layout.mp == 1))
    seconds = [item.account.seconds for item in changed]
    assert seconds == sorted(seconds)
