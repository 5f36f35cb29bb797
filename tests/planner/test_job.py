from dataclasses import replace

import pytest

from pangu_alpha.config import load_config
from pangu_alpha.errors import ConfigError
from pangu_alpha.planner.hardware import load_hardware
from pangu_alpha.planner.job import DAY, Job, fewest_devices, less_and_more, other_chips, other_sizes
from pangu_alpha.planner.report import describe_layouts, describe_scaling

CHIP = load_hardware("910a")
RECIPE = load_config("2b6", ["model.num_layers=4", "train.steps=100000"])
JOB = Job(RECIPE, 8, CHIP, CHIP.memory_bytes, 32, num_tokens=100_000 * 32 * 1024, price=2.0)


def days_on(number: int) -> float:
    found = replace(JOB, num_devices=number).fastest()
    assert found is not None
    return JOB.days(found)


def test_days_and_dollars_are_those_of_all_tokens() -> None:
    found = JOB.fastest()
    assert found is not None
    assert JOB.days(found) == pytest.approx(100_000 * found.account.seconds / DAY)
    assert JOB.dollars(found) == pytest.approx(100_000 * found.account.seconds / 3600 * 8 * 2.0)
    assert JOB.num_steps == 100_000 and "100,000 steps = 3.28G tokens" in str(JOB)
    header, line = describe_layouts([found], JOB)
    assert header.endswith(" dollars") and float(line.split()[-1].rstrip("kM")) > 0
    assert "dollars" not in describe_layouts([found], replace(JOB, price=None))[0]


def test_another_batch_reads_as_many_tokens_in_other_steps() -> None:
    more = replace(JOB, batch_size=96)
    assert more.num_steps == 33_334 and more.num_tokens == JOB.num_tokens
    found = more.fastest()
    assert found is not None
    assert more.days(found) == pytest.approx(33_333.3 * found.account.seconds / DAY, rel=1e-4)


def test_the_fewest_devices_are_found_that_are_quick_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    enough, half = days_on(8), days_on(4)
    assert half > enough
    assert fewest_devices(JOB, enough).num_devices == 8
    assert fewest_devices(JOB, half).num_devices == 4
    monkeypatch.setattr("pangu_alpha.planner.job.MAX_DEVICES", 16)
    with pytest.raises(ConfigError, match=r"--days 0.001: no number of devices up to 16 makes .*: 16, the fastest"):
        fewest_devices(JOB, 0.001)


def test_a_time_that_no_number_of_devices_reaches_is_answered_with_that_of_the_fastest() -> None:
    """More devices than that are slower: a batch of 8 has nothing for them."""
    job = replace(JOB, recipe=load_config("350m", ["train.steps=100000"]), batch_size=8)
    days = {item.num_devices: item.days(found) for item in other_sizes(job) if (found := item.fastest())}
    fastest = min(days, key=lambda number: days[number])
    assert fastest < max(days)
    with pytest.raises(ConfigError, match=f": {fastest:,}, the fastest of 1, 2, 4, …, take "):
        fewest_devices(job, days[fastest] / 2)


def test_beside_a_job_stand_those_with_half_and_twice_of_one_thing() -> None:
    jobs = dict(less_and_more(JOB))
    assert len(jobs) == 6
    assert jobs["half the devices"] == replace(JOB, num_devices=4) and jobs["twice the batch"].batch_size == 64
    assert jobs["links half as fast"].hardware.links[0].gb_per_s == CHIP.links[0].gb_per_s / 2
    alone = dict(less_and_more(replace(JOB, num_devices=1, batch_size=1)))
    assert "half the devices" not in alone and "half the batch" not in alone
    largest = dict(less_and_more(replace(JOB, num_devices=16_384)))
    assert "twice the devices" not in largest


def test_other_chips_are_better_and_worse_in_one_thing_each() -> None:
    chips = {mark: job.hardware for mark, job in other_chips(JOB)}
    assert list(chips) == ["C+", "C-", "L+", "L-", "O+", "O-"]
    assert chips["C+"].peak("float16") == pytest.approx(1.2 * CHIP.peak("float16")) and chips["C+"].links == CHIP.links
    assert chips["L-"].links[0].gb_per_s == pytest.approx(0.8 * CHIP.links[0].gb_per_s)
    assert (chips["O+"].efficiency.overlap, chips["O-"].efficiency.overlap) == (1.0, 0.0)
    assert chips["O-"].links == CHIP.links and chips["O-"].tflops == CHIP.tflops


def test_more_devices_that_buy_no_time_are_named() -> None:
    assert [job.num_devices for job in other_sizes(replace(JOB, num_devices=4096))] == [2048, 4096, 8192, 16384]
    assert [job.num_devices for job in other_sizes(replace(JOB, num_devices=3))][:2] == [3, 6]
    two, four = (replace(JOB, num_devices=number).fastest() for number in (2, 4))
    assert two is not None and four is not None
    slow = replace(four, account=replace(four.account, seconds=2 * two.account.seconds))
    lines = describe_scaling([two, slow])
    assert lines[0].endswith("100% of the first's") and lines[1].endswith(", no faster than 2 devices")
