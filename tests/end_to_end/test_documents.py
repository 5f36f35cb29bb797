"""Commands that documents tell a newcomer to paste, pasted as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import user_environment

ROOT = Path(__file__).parents[2]
WAITING = """
import sys
if "train" in sys.orig_argv:
    import time
    from pangu_alpha.training.callbacks.metrics_file import WriteMetrics
    write = WriteMetrics.on_step

    def write_and_wait(self, trainer, metrics):
        write(self, trainer, metrics)
        end, killed = time.monotonic() + 280, trainer.config.output / "logs" / "attempt_0"
        while metrics.step == 12 and not killed.exists() and time.monotonic() < end:
            time.sleep(0.01)

    WriteMetrics.on_step = write_and_wait
"""
"""A sitecustomize.py: the first start of a job goes no further than step 12. Who pastes commands is faster than its 60
steps; beside other work a test may not be."""


def _commands(document: str, headings: str) -> str:
    """The indented lines of the sections whose headings match the pattern `headings`."""
    text = (ROOT / document).read_text(encoding="utf-8")
    sections = re.findall(rf"^## {headings}.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return "".join(f"{line}\n" for line in re.findall(r"^    (.*)$", "".join(sections), re.MULTILINE))


def _paste(checkout: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=checkout,
        env={**user_environment(), **environment},
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=1200,
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that looks like the checkout, whose installation is that of these tests."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("configs", "hccl_configs", "launch", "requirements.txt"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    # The installation has its own tests; what comes after it is meant here.
    (folder / "scripts").mkdir()
    (folder / "scripts" / "install.sh").write_text("test -x .venv/bin/python\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def one_verb_at_a_time(checkout: Path) -> subprocess.CompletedProcess[str]:
    script = _commands("README.md", "One verb at a time")
    assert script.count("\n") > 20
    return _paste(checkout, script)


def test_one_verb_at_a_time(checkout: Path, one_verb_at_a_time: subprocess.CompletedProcess[str]) -> None:
    assert one_verb_at_a_time.returncode == 0, one_verb_at_a_time.stdout[-2000:] + one_verb_at_a_time.stderr[-4000:]
    assert "却说曹操" in one_verb_at_a_time.stdout
    for product in ("run/loss.png", "run/checkpoints/step_00000020/index.json", "two_workers/loss.png"):
        assert (checkout / "mine" / product).exists(), product


@pytest.mark.usefixtures("one_verb_at_a_time")
def test_from_an_empty_cluster_to_step_1(checkout: Path, tmp_path: Path) -> None:
    script = _commands("docs/cluster.md", r"[2-7]\. ")
    assert script.count("launch/train_rank_table.sh") == 3
    (tmp_path / "sitecustomize.py").write_text(WAITING, encoding="utf-8")
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    done = _paste(checkout, "source .venv/bin/activate\n" + script, PYTHONPATH=path)
    printed = done.stdout[-4000:] + done.stderr[-4000:]
    assert done.returncode == 0, printed
    assert "rank 3 died (killed by SIGKILL)" in done.stderr and "the launcher's exit code: 1" in done.stdout, printed
    assert "rank 3 failed first" in done.stdout and "going on after step " in done.stderr, printed
    assert done.stdout.rstrip().endswith("all ranks have ended well"), printed
