import json
from pathlib import Path

import pytest

from pangu_alpha.cluster.watching.heartbeat import HeartbeatWriter, heartbeat_folder
from pangu_alpha.cluster.watching.pace import describe_pace, recorded_pace
from pangu_alpha.config import RunConfig, load_config
from pangu_alpha.errors import ClusterError
from pangu_alpha.planner.hardware import load_hardware
from pangu_alpha.planner.search import found_of
from pangu_alpha.run_folder import METRICS, PLANNED_SECONDS

CHIP = load_hardware("910a")


@pytest.fixture
def run(tmp_path: Path) -> RunConfig:
    config = load_config("200b_2048", [f"output={tmp_path / 'run'}"])
    with HeartbeatWriter(config, 0) as writer:
        writer.report("training", 1)
    return config


def write_steps(run: RunConfig, *times: float) -> float:
    """Steps of so many times the planned seconds, which are returned."""
    planned = found_of(run, CHIP).account.seconds
    lines = (json.dumps({"step": step, "seconds": planned * each}) for step, each in enumerate(times, start=1))
    (run.output / METRICS).write_text("".join(f"{line}\n" for line in lines))
    return planned


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ([2.1] * 5, "2.1 × slower than planned; the plan's largest parts are waiting in the pipeline ("),
        ([9.0] + [2.5] * 30 + [1.0] * 20, "as planned. 6.49 s a step are planned on 2,048 × Ascend 910A"),
        ([1.05, 1.05, 30.0], "as planned"),
        ([0.5], "2.0 × faster than planned"),
    ],
)
def test_the_last_steps_stand_beside_the_plan(run: RunConfig, times: list[float], words: str) -> None:
    write_steps(run, *times)
    assert words in describe_pace(run.output, CHIP)


def test_a_run_without_steps_has_a_plan_alone(run: RunConfig) -> None:
    planned = write_steps(run)
    assert describe_pace(run.output, CHIP) == (
        f"pace: {planned:.3g} s a step are planned on 2,048 × Ascend 910A (dp 16 × mp 8 × pp 16); none is measured yet"
    )
    (run.output / METRICS).write_text('{"step": 1, "seconds": null}\n{"step": 2}\n{"st')
    assert describe_pace(run.output, CHIP).endswith("none is measured yet")
    odd = [f"1{'0' * 400}", "NaN", "1e999", "true", '"7"', "-1e300"]
    (run.output / METRICS).write_text("".join(f'{{"step": 1, "seconds": {seconds}}}\n' for seconds in odd))
    assert describe_pace(run.output, CHIP).endswith("none is measured yet")


def test_what_cannot_be_planned_is_said(run: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="has no heartbeats"):
        describe_pace(tmp_path / "nothing", CHIP)
    settings = next(heartbeat_folder(run.output).glob("settings_*.json"))
    settings.write_text("{}")
    with pytest.raises(ClusterError, match="cannot be planned"):
        describe_pace(run.output, CHIP)


def test_what_was_planned_at_the_start_needs_no_chip(run: RunConfig) -> None:
    path = run.output / METRICS
    assert recorded_pace(run.output) is None
    path.write_text('{"step": 1, "seconds": 3.0}\n')
    assert recorded_pace(run.output) is None  # started without --hardware
    lines = [{"step": step, "seconds": 9.0 if step < 3000 else 4.2, PLANNED_SECONDS: 2.0} for step in range(1, 3021)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert recorded_pace(run.output) == "pace: 4.2 s a step, 2.1 × slower than planned. 2 s were planned at its start"
