from pathlib import Path

from pangu_alpha.cluster.preflight.expected import check_expected
from pangu_alpha.cluster.rank_tables.rank_table import Device, Server, numbered, write_rank_table
from pangu_alpha.config import load_config
from pangu_alpha.planner.hardware import load_hardware

CHIP = load_hardware("910a")
TABLE = Path(__file__).parents[3] / "hccl_configs" / "hccl_2048.json"


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


def test_the_links_are_those_of_the_rank_table(tmp_path: Path) -> None:
    """As long as its servers have eight devices, as the chip's; longer where they have one."""
    found = check_expected(load_config("200b_2048"), CHIP, TABLE)
    assert found.found == "6.49 s a step, 17.3 of 30.0 GiB, on 2,048 × Ascend 910A, links as in hccl_2048.json"
    alone = [Server(f"10.0.{s // 256}.{s % 256}", (Device(0, s, f"192.0.{s}.1"),)) for s in range(2048)]
    write_rank_table(numbered("1.0", alone), tmp_path / "alone.json")
    slower = check_expected(load_config("200b_2048"), CHIP, tmp_path / "alone.json")
    assert slower.state == "ok" and float(slower.found.split()[0]) > 7


def test_a_table_of_another_job_leaves_nothing_to_expect() -> None:
    found = check_expected(load_config("200b_2048", ["parallel.dp=8"]), CHIP, TABLE)
    assert found.state == "skipped"
    assert found.found == f"the rank table has to be right first: {TABLE} has 2,048 devices for 1,024"
