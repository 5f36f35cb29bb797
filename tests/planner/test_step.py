import pytest

from pangu_alpha.config import load_config, model_flops_per_token, tokens_per_step
from pangu_alpha.planner.hardware import load_hardware, varied
from pangu_alpha.planner.step import account, price_recipe

CHIP = load_hardware("910a")


def test_the_parts_of_the_time_add_up() -> None:
    for recipe in ("2b6", "200b_2048"):
        found = account(price_recipe(load_config(recipe), CHIP))
        assert sum(found.parts.values()) == pytest.approx(found.seconds)
        assert all(seconds >= 0 for seconds in found.parts.values())


def test_utilisation_counts_the_networks_operations_and_those_that_are_made() -> None:
    config = load_config("200b_2048")
    found = account(price_recipe(config, CHIP))
    tokens = tokens_per_step(config)
    expected = model_flops_per_token(config.model) * tokens / found.seconds / (2048 * 256e12)
    assert found.model_utilisation == pytest.approx(expected)
    # Of six products and the attention, four are made again, and the two of the attention.
    assert 1.15 < found.hardware_utilisation / found.model_utilisation < 1.25
    assert found.tokens_per_second == pytest.approx(tokens / found.seconds)


def test_no_step_is_shorter_than_its_bound() -> None:
    for settings in (
        [],
        ["parallel.schedule=interleaved", "parallel.num_chunks=2"],
        ["parallel.sequence_parallel=true"],
    ):
        priced = price_recipe(load_config("200b_2048", settings), CHIP)
        assert priced.least_seconds <= account(priced).seconds


def test_a_chip_that_is_twice_as_fast_in_everything_takes_half_the_time() -> None:
    config = load_config("200b_2048")
    latencies = [link.model_copy(update={"latency_us": 0.0}) for link in CHIP.links]
    chip = CHIP.model_copy(update={"links": tuple(latencies)})
    slow, fast = (account(price_recipe(config, each)) for each in (chip, varied(chip, 2.0, 2.0)))
    assert slow.seconds == pytest.approx(2 * fast.seconds)


def test_the_published_row_of_the_13b_network_is_predicted_from_that_of_the_2b6() -> None:
    """MindFormers r1.0: 4,075 and 575 tokens/s a card; benchmarks/plan_accuracy.py has all rows."""
    small = load_config("2b6", ["parallel.dp=8", "parallel.mp=1", "train.batch_size=128"])
    large = load_config("13b", ["parallel.dp=4", "parallel.mp=4", "train.batch_size=32"])
    rates = [account(price_recipe(config, CHIP)).tokens_per_second for config in (small, large)]
    assert rates[0] / 8 == pytest.approx(4075, rel=0.01)
    assert rates[1] / 16 == pytest.approx(575, rel=0.10)
