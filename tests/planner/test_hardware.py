from pathlib import Path

import pytest

from pangu_alpha.errors import ConfigError
from pangu_alpha.planner.hardware import CHIPS, list_hardware, load_hardware, varied


def test_all_shipped_chips_can_be_read_and_name_the_source_of_each_number() -> None:
    assert list_hardware() == ["a100", "ascend_910a", "ascend_910b", "ascend_910c", "h100"]
    numbers = {"tflops", "memory_gib", "memory_gb_per_s", "reserved_gib", "links", "latency_us", "efficiency"}
    for name in list_hardware():
        assert set(load_hardware(name).sources) == numbers


def test_a_chip_is_found_by_its_short_name_or_by_a_path(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text((CHIPS / "ascend_910a.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    assert load_hardware("910a") == load_hardware("ascend_910a") == load_hardware("910A") == load_hardware(str(own))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("memory_gib: 32", "memory_gib: 32\nmemory_gb: 32"), "unknown key memory_gb: did you mean 'memory_gib'?"),
        (("memory_gib: 32", ""), "memory_gib is missing"),
        (("devices: 8,", "devices: 6,"), "a level of 6 devices follows one of 4"),
        (("products: 0.6", "products: 1.2"), "efficiency.products = 1.2: input should be less than or equal to 1"),
        (("float16: 256", "float16: 0"), "a peak is below 0.001"),
        (("float16: 256", "float16: 1e-300"), "a peak is below 0.001"),
        (("{float16: 256, float32: 16}", "{}"), "tflops"),
        (("gb_per_s: 16,", "gb_per_s: 1.0e-300,"), "gb_per_s"),
        (("name: server", "name: ring of four"), "two levels are called 'ring of four'"),
        (("memory_gib: 32", "memory_gib: 32\nmemory_gib: 64"), "'memory_gib' is there twice"),
        (("memory_gib: 32", "memory_gib: 2"), "reserved_gib(2) is all of memory_gib(2)"),
    ],
)
def test_a_wrong_profile_is_refused_with_its_place(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    text = (CHIPS / "ascend_910a.yaml").read_text(encoding="utf-8")
    assert change[0] in text
    own = tmp_path / "mine.yaml"
    own.write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_hardware(str(own))
    assert words in str(raised.value) and str(own) in str(raised.value)


def test_an_unknown_chip_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="did you mean 910b"):
        load_hardware("910bb")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_hardware("no/such/chip.yaml")


def test_a_type_without_products_is_refused() -> None:
    with pytest.raises(ConfigError, match="Ascend 910A has no products of bfloat16"):
        load_hardware("910a").peak("bfloat16")


def test_another_chip_is_faster_in_what_was_asked() -> None:
    chip = load_hardware("910a")
    other = varied(chip, compute=2.0, links=0.5)
    assert other.peak("float16") == 2 * chip.peak("float16")
    assert other.memory_gb_per_s == 2 * chip.memory_gb_per_s
    assert [link.gb_per_s for link in other.links] == [link.gb_per_s / 2 for link in chip.links]
