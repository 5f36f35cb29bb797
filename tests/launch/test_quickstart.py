"""The quickstart on the user's own text: it ends, goes on where it was stopped, and does only what is needed again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import TinyProject

ROOT = Path(__file__).parents[2]
NUM_STAGES = 8
NETWORK = ("model.num_layers=2", "model.hidden_size=32", "model.num_heads=2", "model.seq_length=32")
WAITING = """
import sys
if "train" in sys.orig_argv:
    import time
    from pangu_alpha.training.callbacks.metrics_file import WriteMetrics
    write = WriteMetrics.on_step

    def write_and_wait(self, trainer, metrics):
        write(self, trainer, metrics)
        end = time.monotonic() + 280
        while metrics.step >= 3 and trainer._wanted_signal is None and time.monotonic() < end:
            time.sleep(0.01)

    WriteMetrics.on_step = write_and_wait
"""
"""A sitecustomize.py: the training waits after its third step for the signal that stops it."""


@pytest.fixture
def waiting(tmp_path: Path) -> dict[str, str]:
    """An environment in which trainings wait to be stopped."""
    (tmp_path / "sitecustomize.py").write_text(WAITING, encoding="utf-8")
    return {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}


def _start(project: TinyProject, *overrides: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pangu_alpha.cli.main",
            "quickstart",
            *NETWORK,
            *overrides,
            "--text",
            "text.jsonl",
            "--output",
            "quick",
        ],
        cwd=project.folder,
        env={**project.environment(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )


def _skipped(output: str) -> int:
    return output.count(": done before")


def test_stop_go_on_and_repeat(tiny_project: TinyProject, waiting: dict[str, str]) -> None:
    process = _start(tiny_project, "train.steps=400", **waiting)
    deadline = time.monotonic() + 280
    while len(tiny_project.records("quick/train")) < 3:
        assert process.poll() is None and time.monotonic() < deadline, "no step was done"
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 143, output
    assert "the same command goes on from here" in output and "Traceback" not in output
    stopped_at = len(tiny_project.records("quick/train"))
    assert stopped_at < 400

    process = _start(tiny_project, "train.steps=400")
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    assert _skipped(output) == 4
    assert f"going on after step {stopped_at}" in output
    assert [record["step"] for record in tiny_project.records("quick/train")] == list(range(1, 401))
    score = json.loads((tiny_project.folder / "quick" / "perplexity.json").read_text())
    assert f"{score['bits_per_character']:.3f}" in output
    assert all(word in output for word in ("unigram", "trigram", "话说天下大势，▸", "却说曹操▸", "loss.png"))

    process = _start(tiny_project, "train.steps=400")
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    assert _skipped(output) == NUM_STAGES

    # Other settings begin another training, and put the finished one aside; the text and its tokens stay.
    process = _start(tiny_project, "train.steps=20", **waiting)
    put_aside = tiny_project.folder / "quick" / "train_old_1" / "metrics.jsonl"
    while not put_aside.exists():
        assert process.poll() is None, "ended without training"
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 143
    assert _skipped(output) == 4
    assert len(tiny_project.records("quick/train_old_1")) == 400


def test_wrong_setting_is_explained(tiny_project: TinyProject) -> None:
    process = _start(tiny_project, "train.stepz=1")
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 2
    assert "unknown key train.stepz" in output and "Traceback" not in output


def test_help_installs_nothing(tmp_path: Path) -> None:
    for name in ("launch/quickstart.sh", "scripts/install.sh"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(
        ["bash", str(tmp_path / "launch" / "quickstart.sh"), "--help"],
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    assert "Usage: bash launch/quickstart.sh" in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_the_environment_of_a_running_job_is_kept(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for path, number in ((tmp_path / ".venv" / "bin" / "python", "3.11.7"), (tmp_path / "python3.12", "3.12.1")):
        # Enough of a Python to be asked for its version.
        answers = f"*print*) echo '{number} (main)' ;; -V) echo 'Python {number}' ;; esac"
        path.write_text(f'#!/bin/sh\nfor word; do case "$word" in {answers}; done\n')
        path.chmod(0o755)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "requirements.txt").touch()

    def install(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", f"source {ROOT / 'scripts' / 'install.sh'}; install requirements.txt"],
            check=False,
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", **environment},
        )

    refused = install(PYTHON=str(tmp_path / "python3.12"))
    assert refused.returncode == 2
    assert ".venv is of Python 3.11.7" in refused.stderr and "A running job may use .venv" in refused.stderr
    # Without PYTHON the one that is there is used, although there is a newer Python.
    kept = install()
    assert "making .venv" not in kept.stderr and "packages of requirements.txt into .venv" in kept.stderr
    assert (tmp_path / ".venv" / "bin" / "python").exists()


def test_unfit_python_is_refused(tmp_path: Path) -> None:
    # It says no to the question whether its version will do.
    python = tmp_path / "python3.13"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    script = f"source {ROOT / 'scripts' / 'install.sh'}; find_python"
    done = subprocess.run(
        ["bash", "-c", script],
        check=False,
        capture_output=True,
        encoding="utf-8",
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(python)},
    )
    assert done.returncode == 2
    assert "is not a Python 3.10, 3.11 or 3.12" in done.stderr
