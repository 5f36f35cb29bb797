"""The same ranks in real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("ranks_that_talk.py")
MPIRUN = Path(sys.executable).with_name("mpirun")


def _mpirun(case: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [str(MPIRUN), "-n", "4", sys.executable, str(SCRIPT), case, str(folder)]
    return subprocess.run(words, capture_output=True, text=True, timeout=280, check=False)


@pytest.mark.parametrize("case", ["exchange", "one_is_ahead"])
def test_processes_get_what_ranks_of_one_process_get(case: str, tmp_path: Path) -> None:
    processes, one_process = tmp_path / "processes", tmp_path / "one"
    for folder in (processes, one_process):
        folder.mkdir()
    run = _mpirun(case, processes)
    assert run.returncode == 0, run.stderr
    subprocess.run([sys.executable, str(SCRIPT), case, str(one_process), "one-process"], check=True)
    written = {path.name: path.read_text() for path in processes.iterdir()}
    assert len(written) == 8
    assert written == {path.name: path.read_text() for path in one_process.iterdir()}


@pytest.mark.parametrize(
    ("case", "problems"),
    [
        ("deadlock", ["rank 0 waits at Receive (layers.0/in)", "rank 3 waits at Receive (layers.3/in)"]),
        ("mismatch", ["do not match in group", "rank2/norm"]),
        ("wrong_tag", ["rank 1 at Receive (layers.1/in) receives tag 11"]),
        ("never_received", ["rank 3 never receives what rank 2 sends"]),
    ],
)
def test_a_failure_stops_all_processes_and_is_reported(case: str, problems: list[str], tmp_path: Path) -> None:
    run = _mpirun(case, tmp_path)
    assert run.returncode != 0
    for problem in problems:
        assert problem in run.stderr
    assert not list(tmp_path.glob("*_1_*"))
