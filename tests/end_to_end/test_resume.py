"""A training that is killed, stopped or finds a damaged checkpoint computes what an uninterrupted one does."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pangu_alpha.checkpoint import list_checkpoints, open_checkpoint

if TYPE_CHECKING:
    from tests.conftest import TinyProject

KILLED = """
import signal, sys
from pangu_alpha.cli.main import main
from pangu_alpha.training.callbacks.metrics_file import WriteMetrics

step, seconds = int(sys.argv.pop(1)), float(sys.argv.pop(1))
write = WriteMetrics.on_step

def write_and_set_the_clock(self, trainer, metrics):
    write(self, trainer, metrics)
    if metrics.step == step:
        signal.setitimer(signal.ITIMER_REAL, seconds)

WriteMetrics.on_step = write_and_set_the_clock
sys.exit(main())
"""
"""`pangu` that its own clock kills, so long after the record of a step: who watches from outside may come too late."""


def _killed(project: TinyProject, step: int, seconds: float, *words: str) -> int:
    """The exit code of such a process."""
    command = [sys.executable, "-c", KILLED, str(step), str(seconds), *words]
    return subprocess.run(
        command, cwd=project.folder, env=project.environment(), check=False, capture_output=True, timeout=300
    ).returncode


def _wait_for_step(project: TinyProject, process: subprocess.Popen[str], run: str, step: int) -> None:
    deadline = time.monotonic() + 280
    while (records := project.records(run)) == [] or records[-1]["step"] < step:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"step {step} was not reached"
        time.sleep(0.002)


def test_killed_run_equals_uninterrupted_run(tiny_project: TinyProject, reference_run: str) -> None:
    seed = random.randrange(10**6)
    moments = random.Random(seed)
    # Always further than the checkpoint before: the kills are spread over the run.
    for step in (moments.randint(20, 60), moments.randint(100, 140), moments.randint(180, 240)):
        code = _killed(tiny_project, step, moments.uniform(0.001, 0.05), "train", "recipe.yaml", "output=killed")
        assert code == -signal.SIGALRM and step <= tiny_project.losses("killed")[-1][0] < 300, f"random seed {seed}"
    last = tiny_project.pangu("train", "recipe.yaml", "output=killed")
    assert last.returncode == 0, last.stderr
    assert "going on after step" in last.stderr
    assert tiny_project.losses("killed") == tiny_project.losses(reference_run), f"random seed {seed}"
    validations = [tiny_project.folder / run / "validation.jsonl" for run in ("killed", reference_run)]
    assert validations[0].read_text() == validations[1].read_text()


# While a graph runs, MindSpore turns SIGINT into SIGTERM.
@pytest.mark.parametrize(("number", "codes"), [(signal.SIGTERM, {143}), (signal.SIGINT, {130, 143})])
def test_signal_saves_and_run_goes_on(
    tiny_project: TinyProject, reference_run: str, number: signal.Signals, codes: set[int]
) -> None:
    run = f"stopped_{number.name}"
    # Checkpoints are too far apart to be the reason why the run goes on from this step.
    words = ("train", "recipe.yaml", f"output={run}", "train.checkpoint_every=100000")
    process = tiny_project.start(*words, "train.steps=100000")
    _wait_for_step(tiny_project, process, run, 3)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=280)
    assert process.returncode in codes, stderr
    assert "Traceback" not in stderr and ("Ctrl-C" in stderr or number == signal.SIGTERM)
    step = tiny_project.losses(run)[-1][0]
    assert [path.name for path in list_checkpoints(tiny_project.folder / run / "checkpoints")] == [f"step_{step:08d}"]
    resumed = tiny_project.pangu(*words, f"train.steps={step + 20}")
    assert resumed.returncode == 0, resumed.stderr
    assert f"going on after step {step}" in resumed.stderr
    got, expected = tiny_project.losses(run), tiny_project.losses(reference_run)
    assert len(got) == step + 20
    # Where the machine was so busy that the signal came after the end of the other run, only what both have.
    assert got[: len(expected)] == expected[: len(got)]


def test_a_finished_run_says_so_and_writes_nothing(tiny_project: TinyProject, reference_run: str) -> None:
    folder = tiny_project.folder / reference_run
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    done = tiny_project.pangu("train", "recipe.yaml", f"output={reference_run}")
    assert done.returncode == 0 and "this run is finished" in done.stderr and "raise train.steps" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    status = tiny_project.pangu("status", reference_run).stdout
    assert status.splitlines()[-1].startswith("pace: ") and status.endswith(" s were planned at its start\n")


def test_two_runs_on_one_output_do_not_meet(tiny_project: TinyProject, reference_run: str) -> None:
    first = tiny_project.start("train", "recipe.yaml", "output=shared", "train.steps=100000")
    _wait_for_step(tiny_project, first, "shared", 1)
    second = tiny_project.pangu("train", "recipe.yaml", "output=shared", "train.steps=100000")
    assert second.returncode == 2
    assert f"rank 0 of the run shared is in use by process {first.pid} on " in second.stderr
    first.send_signal(signal.SIGTERM)
    _, stderr = first.communicate(timeout=280)
    assert first.returncode == 143, stderr
    together = min(len(tiny_project.losses("shared")), 300)
    assert tiny_project.losses("shared")[:together] == tiny_project.losses(reference_run)[:together]


def test_a_cache_that_cannot_be_written_is_named(tiny_project: TinyProject) -> None:
    (tiny_project.folder / "file").touch()
    project = replace(tiny_project, more_environment={"XDG_CACHE_HOME": str(tiny_project.folder / "file")})
    done = project.pangu("train", "recipe.yaml", "output=no_cache", "train.steps=2", "schedule.warmup_steps=1")
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert f"{tiny_project.folder}/file/pangu_alpha cannot be used for fused kernels" in done.stderr


def test_damaged_checkpoint_is_skipped(tiny_project: TinyProject, reference_run: str) -> None:
    shutil.copytree(tiny_project.folder / reference_run, tiny_project.folder / "damaged")
    before, newest = list_checkpoints(tiny_project.folder / "damaged" / "checkpoints")
    weights = newest / "weights" / "rank_00000.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    done = tiny_project.pangu("train", "recipe.yaml", "output=damaged")
    assert done.returncode == 0, done.stderr
    assert (
        f"skipping a checkpoint: damaged/checkpoints/{newest.name}/weights/rank_00000.safetensors is damaged"
        in done.stderr
    )
    assert f"going on after step {int(before.name.removeprefix('step_'))}" in done.stderr
    assert tiny_project.losses("damaged") == tiny_project.losses(reference_run)
    assert sum(open_checkpoint(newest).check_contents()) > 0, "the damaged checkpoint was not replaced by a good one"
