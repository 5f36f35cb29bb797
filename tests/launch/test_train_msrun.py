"""Data-parallel training with real processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pangu_alpha.cluster.watching.diagnosis import diagnose
from pangu_alpha.cluster.watching.status import read_status

if TYPE_CHECKING:
    from tests.conftest import TinyProject
    from tests.launch.conftest import SimulatedCluster

SCRIPT = Path(__file__).parents[2] / "launch" / "train_msrun.sh"


def _start(project: TinyProject, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", str(SCRIPT), *words],
        cwd=project.folder,
        env={**project.environment(), "PYTHON": sys.executable},
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def _start_endless(project: TinyProject, run: str, *more: str) -> subprocess.Popen[str]:
    """Two workers that would train for hours, after their first steps."""
    process = _start(project, "--workers", "2", "recipe.yaml", f"output={run}", "train.steps=1000000", *more)
    deadline = time.monotonic() + 280
    while len(project.records(run)) < 3:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "the workers did not begin"
        time.sleep(0.05)
    return process


def _workers_of(run: str) -> list[int]:
    """Ids of the processes of rank 1, found by their arguments and environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments, environment = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
        except OSError:
            continue
        if f"output={run}\0".encode() in arguments and b"MS_ROLE=MS_WORKER" in environment:
            found.append((b"RANK_ID=1\0" in environment, int(folder.name)))
    return [process_id for _, process_id in sorted(found, reverse=True)]


def test_two_workers_equal_one(tiny_project: TinyProject) -> None:
    words = ("recipe.yaml", "train.steps=5", "train.validate_every=5", "train.num_micro_batches=2")
    alone = tiny_project.pangu("train", *words, "output=alone")
    assert alone.returncode == 0, alone.stderr
    together = _start(tiny_project, "--workers", "2", *words, "output=together")
    _, stderr = together.communicate(timeout=280)
    assert together.returncode == 0, stderr
    expected, got = tiny_project.losses("alone"), tiny_project.losses("together")
    assert [step for step, _, _ in got] == [1, 2, 3, 4, 5]
    for (_, loss, norm), (_, got_loss, got_norm) in zip(expected, got, strict=True):
        assert got_loss == pytest.approx(loss, abs=1e-5)
        assert got_norm == pytest.approx(norm, rel=1e-4)
    for rank in (0, 1):
        assert (tiny_project.folder / "together" / "logs" / f"rank_{rank}.log").exists()
    assert "step 5/5" in stderr and "DISTRIBUTED" not in stderr


def test_msrun_itself_starts_the_same_workers(tiny_project: TinyProject) -> None:
    folder = Path(sys.executable).parent
    # msrun starts the first `python` of the path: this is what activating the environment does.
    environment = {**tiny_project.environment(), "PATH": f"{folder}:{os.environ['PATH']}"}
    words = ("train", "recipe.yaml", "train.steps=3", "parallel.dp=2", "output=by_msrun", "fuse_operators=false")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    done = subprocess.run(
        [str(folder / "msrun"), "--worker_num=2", "--local_worker_num=2", "--join=True", f"--master_port={port}",
         "--log_dir=msrun_logs", str(folder / "pangu"), *words],
        cwd=tiny_project.folder, env=environment, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    # MindSpore's scheduler runs the same command and is no rank.
    status = read_status(tiny_project.folder / "by_msrun")
    assert [(row.ranks, row.state) for row in status.rows] == [((0, 1), "ended")]
    assert diagnose(tiny_project.folder / "by_msrun").failures == ()
    alone = tiny_project.pangu("train", *words[1:3], "output=not_by_msrun", "fuse_operators=false")
    assert alone.returncode == 0, alone.stderr
    for one, two in zip(tiny_project.losses("not_by_msrun"), tiny_project.losses("by_msrun"), strict=True):
        assert two == pytest.approx(one, rel=1e-5)


def test_dead_worker_ends_the_job(tiny_project: TinyProject) -> None:
    process = _start_endless(tiny_project, "with_dead_worker")
    rank_1, rank_0 = _workers_of("with_dead_worker")
    subprocess.run(["kill", "-KILL", str(rank_1)], check=True)
    _, stderr = process.communicate(timeout=280)
    assert process.returncode == 1
    assert "rank 1 died (killed by SIGKILL)" in stderr
    assert "rank_1.log" in stderr
    assert not Path(f"/proc/{rank_0}").exists()


def test_a_killed_launcher_loses_nothing(tiny_project: TinyProject) -> None:
    """The same command waits for the ranks, which save and end by themselves, and goes on after them."""
    words = ("--workers", "2", "recipe.yaml", "train.checkpoint_every=1000000")
    undisturbed = _start(tiny_project, *words, "train.steps=60", "output=undisturbed_job")
    assert undisturbed.wait(timeout=280) == 0
    process = _start_endless(tiny_project, "headless", *words[3:])
    process.kill()
    process.communicate()
    # However busy the machine is, ranks that have got their signal do not do as many steps more.
    num_steps = len(tiny_project.records("headless")) + 50
    again = _start(tiny_project, *words, f"train.steps={num_steps}", "output=headless")
    _, stderr = again.communicate(timeout=280)
    assert again.returncode == 0, stderr
    assert "going on after step" in stderr
    got, expected = tiny_project.losses("headless"), tiny_project.losses("undisturbed_job")
    assert len(got) == num_steps and got[: len(expected)] == expected[: len(got)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_saves_and_ends_all_workers(tiny_project: TinyProject, number: signal.Signals, code: int) -> None:
    run = f"workers_{number.name}"
    process = _start_endless(tiny_project, run)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=280)
    assert process.returncode == code, stderr
    stopped = re.search(r"stopped at step (\d+)", stderr)
    assert stopped is not None, stderr
    assert (tiny_project.folder / run / "checkpoints" / f"step_{int(stopped[1]):08d}").is_dir()
    assert _workers_of(run) == []


def test_worker_with_an_error_is_named(tiny_project: TinyProject) -> None:
    words = ("--workers", "2", "recipe.yaml", "output=refused", "tokenizer=other_tokenizer")
    process = _start(tiny_project, *words)
    _, stderr = process.communicate(timeout=280)
    assert process.returncode == 1
    assert re.search(r"rank [01] died \(exit code 2\)", stderr)
    assert "tokens/train" in stderr


def test_wrong_settings_start_nothing(tiny_project: TinyProject) -> None:
    process = _start(tiny_project, "--workers", "3", "recipe.yaml", "output=never_started")
    _, stderr = process.communicate(timeout=280)
    assert process.returncode == 2
    assert "train.batch_size(4)" in stderr and "Traceback" not in stderr
    assert not (tiny_project.folder / "never_started").exists()


def test_processes_are_dealt_out_to_hosts(simulated_cluster: SimulatedCluster) -> None:
    words = ("recipe.yaml", "--workers", "16", "--hosts", "hosts", "--dry-run", "parallel.dp=4", "output=my run")
    code, stdout, stderr = simulated_cluster.answer("msrun", *words)
    assert code == 0, stderr
    assert "> 'my run/logs/rank_0.log' 2>&1" in stdout and "-- 127.0.0.2" in stdout
    first, second = stdout.split("# server 127.0.0.2")
    assert "parallel.dp=4 'output=my run' parallel.dp=16" in first, "the workers decide"
    for rank in range(16):
        part = first if rank < 8 else second
        assert f"RANK_ID={rank} RANK_SIZE=16 DEVICE_ID={rank % 8} RANK_TABLE_FILE= " in part
    assert "MS_SCHED_HOST=127.0.0.1" in second and "HCCL_CONNECT_TIMEOUT=6000" in second


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--workers", "1", "--hosts", "hosts", "train.batch_size=9"), "--workers 1 ÷ 2 hosts is not whole"),
        (("--workers", "5", "parallel.mp=2"), "--workers 5 ÷ (parallel.mp(2) × parallel.pp(1)) is not a whole number"),
        (("--workers", "2", "--hosts", "option"), "option, line 2: '-oProxyCommand=x' is not the name of a host"),
        (("--workers", "2", "--hosts", "far"), "host 127.0.0.1 is 127.0.0.1 here, where no other server can reach it"),
        (("--workers", "2", "--hosts", "unknown"), "host no-such-host.invalid is not known here"),
    ],
)
def test_hosts_that_cannot_work(simulated_cluster: SimulatedCluster, words: tuple[str, ...], message: str) -> None:
    (simulated_cluster.folder / "option").write_text("127.0.0.1\n-oProxyCommand=x\n")
    (simulated_cluster.folder / "far").write_text("127.0.0.1\n10.0.0.2\n")
    (simulated_cluster.folder / "unknown").write_text("127.0.0.1\nno-such-host.invalid\n")
    code, _, stderr = simulated_cluster.answer("msrun", "recipe.yaml", *words, "--dry-run")
    assert code == 2
    assert message in stderr


def test_the_interpreter_that_the_environment_was_made_with_may_stay_in_python(tmp_path: Path) -> None:
    for name, text in {
        ".venv/bin/python": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
        "bare": "#!/bin/sh\nexit 1\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "launch").mkdir()
    for name in ("train_msrun.sh", "run_pangu.sh"):
        (tmp_path / "launch" / name).write_bytes((SCRIPT.parent / name).read_bytes())
    done = subprocess.run(
        ["bash", str(tmp_path / "launch" / "train_msrun.sh"), "--help"],
        env={**os.environ, "PYTHON": str(tmp_path / "bare")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0 and "usage: pangu launch msrun" in done.stdout, done.stderr
