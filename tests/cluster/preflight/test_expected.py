from pangu_alpha.cluster.preflight.expected import check_expected
from pangu_alpha.config import load_config
from pangu_alpha.planner.hardware import load_hardware

CHIP = load_hardware("910a")


def test_a_step_and_its_memory_are_told() -> None:
    found = check_expected(load_config("200b_2048"), CHIP)
    assert (found.what, found.state) == ("plan", "ok")
    assert found.found == "6.49 s a step, 17.3 of 30.0 GiB, on 2,048 × Ascend 910A"


def test_a_layout_that_does_not_fit_is_bad_and_has_ways_out() -> None:
    config = load_config("200b_2048", ["parallel.optimizer_sharding=false"])
    found = check_expected(config, CHIP)
    assert found.state == "bad" and "GiB on 2,048 × Ascend 910A, and has 30.0 for a program" in found.found
    assert found.fix.startswith("set parallel.optimizer_sharding=true")


def test_a_chip_without_the_compute_type_is_bad() -> None:
    found = check_expected(load_config("200b_2048", ["model.compute_dtype=bfloat16"]), CHIP)
    assert found.state == "bad" and "has no products of bfloat16" in found.found
