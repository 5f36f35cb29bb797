"""The processes of an emulated job: this one alone, or those of mpirun."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pangu_alpha.emulator.processes import Processes

MPIRUN = Path(sys.executable).with_name("mpirun")
PROGRAM = """\
import sys
from pangu_alpha.emulator.processes import Processes
processes = Processes(2)
rank = processes.ranks[0]
with processes.ending_together():
    told = processes.of_main(lambda: f"from {rank}")
    largest = processes.largest(10 * rank)
    print(f"{processes}: {list(processes.ranks)} {processes.is_main} {told} {largest}", flush=True)
    {end}
"""


def run_two(end: str, folder: Path, number: int = 2) -> subprocess.CompletedProcess[str]:
    script = folder / "two.py"
    script.write_text(PROGRAM.replace("{end}", end), encoding="utf-8")
    words = [str(MPIRUN), "-n", str(number), sys.executable, str(script)]
    return subprocess.run(words, capture_output=True, text=True, timeout=280, check=False)


def test_alone_this_process_has_all_ranks() -> None:
    processes = Processes(8)
    assert list(processes.ranks) == list(range(8))
    assert processes.is_main
    assert processes.of_main(lambda: 5) == 5
    assert processes.largest(15) == 15
    processes.require_equal("settings")
    assert str(processes) == "8 emulated rank(s) in 1 process(es)"


def test_under_mpirun_each_has_one_rank_and_the_main_one_tells_the_others(tmp_path: Path) -> None:
    done = run_two("processes.require_equal('same')", tmp_path)
    assert done.returncode == 0, done.stderr
    start = "2 emulated rank(s) in 2 process(es):"
    said = "".join(done.stdout.split())  # mpirun may mix two lines, but not what one process writes at once
    for line in (f"{start} [0] True from 0 10", f"{start} [1] False from 0 10"):
        assert said.count(line.replace(" ", "")) == 1, done.stdout


@pytest.mark.parametrize(
    ("end", "problem"),
    [
        ("processes.require_equal(str(rank))", "started with different settings"),
        # The other process waits for this one's vote.
        ("processes.largest(0) if rank else open('nowhere')", "No such file or directory: 'nowhere'"),
    ],
)
def test_the_failure_of_one_ends_all(end: str, problem: str, tmp_path: Path) -> None:
    done = run_two(end, tmp_path)
    assert done.returncode != 0
    assert problem in done.stderr


def test_another_number_of_processes_is_refused(tmp_path: Path) -> None:
    done = run_two("pass", tmp_path, number=3)
    assert done.returncode != 0
    assert "mpirun started 3 processes for a mesh of 2 ranks: use `mpirun -n 2`" in done.stderr
