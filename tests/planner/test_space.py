from pangu_alpha.config import build_config, load_config
from pangu_alpha.planner.space import Layout, layouts, meshes, refusal

RECIPE = load_config("2b6", ["model.num_layers=8"])


def test_every_product_of_three_is_a_mesh_once() -> None:
    found = [(mesh.dp, mesh.mp, mesh.pp) for mesh in meshes(24)]
    expected = {(dp, mp, 24 // dp // mp) for dp in range(1, 25) for mp in range(1, 25) if 24 % (dp * mp) == 0}
    assert len(found) == len(set(found)) and set(found) == expected


def test_a_layout_is_that_of_its_own_recipe() -> None:
    mesh = Layout(dp=2, mp=2, pp=2)
    assert refusal(RECIPE, mesh, 16) is None
    for layout in layouts(RECIPE, mesh, 16):
        assert Layout.of(layout.config(RECIPE, 16)) == layout
        assert Layout.of(build_config(layout.config(RECIPE, 16).model_dump())) == layout


def test_what_there_is_of_one_mesh() -> None:
    found = list(layouts(RECIPE, Layout(dp=2, mp=2, pp=2), 16))
    # 8 samples a replica in 2, 4 or 8 micro-batches; 1, 2 or 4 runs a stage; 3 kinds; with and without two more.
    assert len(found) == 3 * 3 * 3 * 2 * 2
    assert {layout.num_chunks for layout in found} == {1, 2, 4}


def test_every_refusal_has_its_arithmetic() -> None:
    cases = {
        Layout(1, 3, 1): "32 heads ÷ mp(3) is not whole",
        Layout(16, 1, 1): "24 samples ÷ dp(16) is not whole",
        Layout(1, 1, 16): "= 16 > num_layers(8)",
        Layout(3, 1, 1): "parallel.dp(3) × parallel.mp(1) = 3 is none of 1, 2, 4",
        Layout(8, 1, 4): "24 samples ÷ dp(8) = 3 micro-batches at most, and pp(4) needs one for every stage",
    }
    for layout, words in cases.items():
        found = refusal(RECIPE, layout, 24)
        assert found is not None and words in found[1]
