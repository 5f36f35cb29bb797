"""What `pangu train` refuses by the recipe alone, doctor, launchers and boot file refuse in the same words."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pangu_alpha.cli.main import main
from pangu_alpha.config import load_config
from pangu_alpha.errors import PanguError
from pangu_alpha.training.runnable import require_runnable

if TYPE_CHECKING:
    from tests.launch.conftest import SimulatedCluster

LAUNCH = Path(__file__).parents[2] / "launch"
REFUSED = {
    "operator-level parallelism on a CPU": ["device=cpu", "parallel.dp=8", "parallel.mp=2"],
    "a pipeline on a CPU": ["device=cpu", "parallel.dp=8", "parallel.pp=2", "train.num_micro_batches=2"],
    "no data": ["data.train=[]"],
    "a mix without its sources": ["data.mix=paper_200b"],
    "bfloat16 on a CPU": ["device=cpu", "model.compute_dtype=bfloat16"],
    "a batch that does not divide": ["train.batch_size=24"],
}


@pytest.fixture
def sentence(simulated_cluster: SimulatedCluster, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], str]:
    """What training says against the recipe with some settings, in 16 processes."""
    monkeypatch.chdir(simulated_cluster.folder)
    for name in ("MS_WORKER_NUM", "RANK_SIZE"):
        monkeypatch.delenv(name, raising=False)

    def say(settings: list[str]) -> str:
        with pytest.raises(PanguError) as refusal:
            require_runnable(load_config("recipe.yaml", settings), "mindspore", 16)
        return str(refusal.value)

    return say


@pytest.mark.parametrize("settings", REFUSED.values(), ids=REFUSED)
def test_nobody_passes_what_training_refuses(
    settings: list[str],
    sentence: Callable[[list[str]], str],
    simulated_cluster: SimulatedCluster,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = sentence(settings)
    monkeypatch.setenv("RANK_SIZE", "16")
    assert main(["train", "recipe.yaml", *settings]) == 2
    assert expected in capsys.readouterr().err
    monkeypatch.delenv("RANK_SIZE")
    assert _same(expected, _doctor(settings, capsys))
    for words in (
        ("rank-table", "recipe.yaml", "table.json", *settings, "--hosts", "hosts"),
        ("msrun", "--workers", "16", "recipe.yaml", *settings),
    ):
        for dry in ((), ("--dry-run",)):
            code, stdout, stderr = simulated_cluster.answer(*words, *dry)
            assert (code, stdout) == (2, "")
            assert expected in stderr
    if "device=cpu" not in settings:  # which the boot file refuses before everything else
        code, stdout, stderr = _boot(simulated_cluster, settings, monkeypatch)
        assert (code, stdout) == (2, "")
        assert expected in stderr
    assert not Path("run").exists() and not Path("cache").exists(), "nothing was started"


def test_a_wrong_number_of_processes_is_refused_before_the_data(
    sentence: Callable[[list[str]], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "= 8, but this job has 16 process(es)" in sentence(["parallel.dp=8"])
    assert main(["train", "recipe.yaml"]) == 2
    assert "= 16, but this job has 1 process(es)" in capsys.readouterr().err


def _boot(cluster: SimulatedCluster, settings: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the boot file of rank 9."""
    for name, value in {
        "RANK_TABLE_FILE": "table.json", "RANK_ID": "9", "RANK_SIZE": "16", "ASCEND_DEVICE_ID": "1", "JOB_ID": "job"
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    words = ["--recipe=recipe.yaml", "--work_dir=cache", *(f"--{setting}" for setting in settings)]
    done = subprocess.run(
        [sys.executable, str(LAUNCH / "modelarts_boot.py"), *words],
        cwd=cluster.folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def _doctor(settings: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """All that the doctor finds bad, or its error when it cannot read the recipe."""
    try:
        assert main(["doctor", "recipe.yaml", *settings, "--json"]) == 2
    except SystemExit as end:
        assert end.code == 1
    captured: Any = capsys.readouterr()
    if not captured.out:
        return [captured.err]
    findings = json.loads(captured.out)["findings"]
    return [f"{finding['found']}. {finding['fix']}" for finding in findings if finding["state"] == "bad"]


def _same(sentence: str, found: list[str]) -> bool:
    """Whether `sentence` is among `found`, where the way out begins without a capital."""
    return any(sentence.lower() in line.lower() for line in found)
