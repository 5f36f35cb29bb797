"""A job on the cards of a rank table: two servers, sixteen processes, and what can happen to them."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.launch.conftest import SimulatedCluster

JOB = ("recipe.yaml", "table.json")
BOTH = (*JOB, "--hosts", "hosts")


def test_every_card_gets_its_place(simulated_cluster: SimulatedCluster) -> None:
    code, _, stderr = simulated_cluster.run("rank-table", *BOTH, "train.steps=7")
    assert code == 0, stderr
    for rank in range(16):
        seen = simulated_cluster.seen(rank)
        environment = seen["environment"]
        assert environment["RANK_ID"] == str(rank)
        assert environment["DEVICE_ID"] == str(rank % 8)
        assert environment["RANK_SIZE"] == "16"
        assert environment["RANK_TABLE_FILE"] == ""
        assert environment["HCCL_CONNECT_TIMEOUT"] == "6000"
        assert Path(environment["ASCEND_CACHE_PATH"]).is_dir()
        assert (environment["MS_NODE_ID"], environment["MS_SCHED_HOST"]) == (str(rank), "127.0.0.1")
        assert seen["words"][1:] == ["recipe.yaml", "train.steps=7"]
        assert seen["directory"] == str(simulated_cluster.folder)
        log = simulated_cluster.folder / "run" / "logs" / f"rank_{rank}.log"
        assert log.read_text() == f"rank {rank} computes\n"
    assert "rank 0 computes" in stderr and "rank 1 computes" not in stderr
    ends = json.loads((simulated_cluster.folder / "run" / "logs" / "exits_127.0.0.2.json").read_text())
    assert sorted(end["rank"] for end in ends) == list(range(8, 16))
    assert {end["exit_code"] for end in ends} == {0}


def test_first_failure_is_named_and_ends_all(simulated_cluster: SimulatedCluster) -> None:
    simulated_cluster.behave("seconds=1000 die=11")
    code, _, stderr = simulated_cluster.run("rank-table", *BOTH)
    assert code == 1
    assert "host 127.0.0.2: rank 11 died (exit code 3)" in stderr
    assert "梯度 are gone: no memory" in stderr and "rank_11.log" in stderr
    assert stderr.count("died") == 1
    assert simulated_cluster.still_running() == []


def test_killed_rank_is_named(simulated_cluster: SimulatedCluster) -> None:
    simulated_cluster.behave("seconds=1000")
    process = simulated_cluster.start("rank-table", *BOTH)
    simulated_cluster.wait_for(range(16), process)
    os.kill(simulated_cluster.seen(3)["process"], signal.SIGKILL)
    _, stderr = process.communicate(timeout=280)
    assert process.returncode == 1
    assert "host 127.0.0.1: rank 3 died (killed by SIGKILL)" in stderr
    ends = json.loads((simulated_cluster.folder / "run" / "logs" / "exits_127.0.0.1.json").read_text())
    assert [(end["rank"], end["signal"]) for end in ends] == [(3, "SIGKILL")]
    assert simulated_cluster.still_running() == []


def test_a_restarted_launcher_waits_for_the_ranks_of_the_killed_one(simulated_cluster: SimulatedCluster) -> None:
    run = simulated_cluster.folder / "run"
    simulated_cluster.behave("seconds=1000 linger=6")
    killed = simulated_cluster.start("rank-table", *BOTH)
    simulated_cluster.wait_for(range(16), killed)
    refused, _, stderr = simulated_cluster.run("rank-table", *BOTH)
    assert refused == 2 and f"the run run is in use by process {killed.pid} on " in stderr
    assert len(list((run / "logs").glob("rank_*.log"))) == 16 and not list((run / "logs").glob("attempt_*"))
    killed.kill()
    killed.wait()
    simulated_cluster.behave("seconds=0 linger=0.1")
    code, _, stderr = simulated_cluster.run("rank-table", *BOTH)
    assert code == 0, stderr
    logs = [(run / "logs" / f"rank_{rank}.log").read_text() for rank in range(16)]
    assert all(log.endswith(f"rank {rank} computes\n") for rank, log in enumerate(logs)), logs


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_reach_every_rank(simulated_cluster: SimulatedCluster, number: signal.Signals, code: int) -> None:
    simulated_cluster.behave("seconds=1000")
    process = simulated_cluster.start("rank-table", *BOTH)
    simulated_cluster.wait_for(range(16), process)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=280)
    assert process.returncode == code, stderr
    assert "failed" not in stderr
    assert len(list((simulated_cluster.folder / "run" / "seen").glob("saved_*"))) == 16
    assert simulated_cluster.still_running() == []


def test_ranks_save_when_the_launcher_is_killed(simulated_cluster: SimulatedCluster) -> None:
    simulated_cluster.behave("seconds=1000")
    process = simulated_cluster.start("rank-table", *BOTH)
    simulated_cluster.wait_for(range(16), process)
    process.kill()
    deadline = time.monotonic() + 280
    while simulated_cluster.still_running():
        assert time.monotonic() < deadline, "ranks went on without their launcher"
        time.sleep(0.05)
    assert len(list((simulated_cluster.folder / "run" / "seen").glob("saved_*"))) == 16


def test_restart_goes_on_and_keeps_the_logs(simulated_cluster: SimulatedCluster) -> None:
    simulated_cluster.behave("together=16 fail_once=9")
    code, _, stderr = simulated_cluster.run("rank-table", *BOTH, "--restarts", "2")
    assert code == 0, stderr
    assert stderr.count("rank 9 died") == 1 and "restart 1 of 2" in stderr
    logs = simulated_cluster.folder / "run" / "logs"
    assert "no memory" in (logs / "attempt_0" / "rank_9.log").read_text()
    assert "no memory" not in (logs / "rank_9.log").read_text()
    assert len(list((logs / "attempt_0").glob("exits_*.json"))) == 1
    assert not (logs / "attempt_1").exists()


def test_gives_up_when_it_fails_again_at_once(simulated_cluster: SimulatedCluster) -> None:
    simulated_cluster.behave("seconds=1000 die=0")
    code, _, stderr = simulated_cluster.run("rank-table", *BOTH, "--restarts", "5")
    assert code == 1
    assert stderr.count("rank 0 died") == 2 and "giving up" in stderr


def test_server_that_cannot_be_reached_is_named(simulated_cluster: SimulatedCluster) -> None:
    ssh = simulated_cluster.folder / "half_ssh"
    ssh.write_text(
        '#!/bin/sh\n[ "$2" = 127.0.0.2 ] && { echo "ssh: connect to host 127.0.0.2 port 22: No route to host" >&2; '
        'exit 255; }\nshift 2\nexec sh -c "$*"\n'
    )
    ssh.chmod(0o755)
    simulated_cluster.behave("seconds=1000")
    code, _, stderr = simulated_cluster.run("rank-table", *BOTH, "--ssh", str(ssh))
    assert code == 1
    assert "host 127.0.0.2: exit code 255" in stderr and "No route to host" in stderr
    assert simulated_cluster.still_running() == []


def test_missing_ssh_is_explained(simulated_cluster: SimulatedCluster) -> None:
    code, _, stderr = simulated_cluster.run("rank-table", *BOTH, "--ssh", "no_such_program")
    assert code == 2
    assert "'no_such_program' cannot be started" in stderr and "Traceback" not in stderr


def test_one_server_by_hand(simulated_cluster: SimulatedCluster) -> None:
    logs = simulated_cluster.folder / "run" / "logs"
    for attempt in range(2):
        code, _, stderr = simulated_cluster.run(
            "rank-table", *JOB, "--server", "127.0.0.2", f"train.steps={attempt + 5}"
        )
        assert code == 0, stderr
        seen = (simulated_cluster.folder / "run" / "seen").glob("*.json")
        assert sorted(int(path.stem) for path in seen) == list(range(8, 16))
        # What the other server writes at the same time is not touched.
        (logs / "rank_0.log").write_text("the other server's")
    assert (logs / "attempt_0" / "rank_8.log").exists() and (logs / "attempt_0" / "exits_127.0.0.2.json").exists()
    assert not (logs / "attempt_0" / "rank_0.log").exists()


@pytest.mark.parametrize("number", ["-1", "many"])
def test_number_of_restarts(simulated_cluster: SimulatedCluster, number: str) -> None:
    with pytest.raises(SystemExit) as caught:
        simulated_cluster.answer("rank-table", *BOTH, "--restarts", number)
    assert caught.value.code == 2


def test_dry_run_prints_all_and_starts_nothing(simulated_cluster: SimulatedCluster) -> None:
    code, stdout, _ = simulated_cluster.answer("rank-table", *BOTH, "--dry-run")
    assert code == 0
    commands = [line for line in stdout.splitlines() if line.startswith("env ")]
    assert len(commands) == 17 and "MS_ROLE=MS_SCHED" in commands.pop(0)
    for rank, command in enumerate(commands):
        assert f"RANK_ID={rank} RANK_SIZE=16 DEVICE_ID={rank % 8} RANK_TABLE_FILE= " in command
        assert command.endswith(f"> run/logs/rank_{rank}.log 2>&1")
    starts = [line for line in stdout.splitlines() if line.startswith("ssh ")]
    assert [f" 127.0.0.{i} " in line for i, line in enumerate(starts, 1)] == [True, True]
    assert not (simulated_cluster.folder / "run").exists()
    end = stdout[stdout.index("# summary: ") :]
    assert end.startswith("# summary: 17 process(es) on 2 server(s), 16 ranks in the whole job; nothing was started")
    assert "# left out: OMP_NUM_THREADS" in end and "# not looked at: data" in end and "--hosts" not in end


def test_a_dry_run_of_one_server_says_that_the_others_are_left_out(simulated_cluster: SimulatedCluster) -> None:
    words = (*JOB, "--server", "127.0.0.1", "--dry-run")
    code, stdout, stderr = simulated_cluster.answer("rank-table", *words)
    assert code == 0, stderr
    assert "# summary: 9 process(es) on 1 server(s), 16 ranks in the whole job" in stdout
    assert "# left out: 1 other server(s): run this command on each of them, or give --hosts FILE" in stdout


def test_simulated_cards_are_joined_by_a_scheduler_on_the_first_server(
    simulated_cluster: SimulatedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HCCL_IF_BASE_PORT")  # what the user sets is forwarded
    words = (*BOTH, "--dry-run", "device=cpu", "model.compute_dtype=float32")
    code, stdout, stderr = simulated_cluster.answer("rank-table", *words)
    assert code == 0, stderr
    first, second = stdout.split("# server 127.0.0.2")
    assert first.count("MS_ROLE=MS_SCHED") == 1 and "MS_ROLE=MS_SCHED" not in second
    assert second.count("MS_SCHED_HOST=127.0.0.1") == 8 and second.count("MS_WORKER_IP=127.0.0.2") == 8
    assert "RANK_TABLE_FILE=table" not in stdout and "HCCL" not in stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*BOTH, "parallel.dp=8"), "dp(8) × mp(1) × pp(1) = 8 ≠ devices(16)"),
        (("recipe.yaml", "nowhere.json"), "nowhere.json"),
        ((*JOB, "--hosts", "nowhere"), "nowhere"),
        ((*JOB, "--server", "10.0.0.9"), "no such server; it has 127.0.0.1, 127.0.0.2"),
        (JOB, "name this server with --server (one of 127.0.0.1, 127.0.0.2)"),
        ((*JOB, "--server", "127.0.0.2", "--restarts", "1"), "cannot start the others again"),
        ((*JOB, "--hosts", "one_host"), "127.0.0.2 is not in the hosts file"),
        (("recipe.yaml", "broken.json"), "table"),
    ],
)
def test_wrong_input_starts_nothing(simulated_cluster: SimulatedCluster, words: tuple[str, ...], message: str) -> None:
    (simulated_cluster.folder / "one_host").write_text("127.0.0.1\n")
    (simulated_cluster.folder / "broken.json").write_text('{"version": "1.0", "table": []}')
    code, _, stderr = simulated_cluster.answer("rank-table", *words)
    assert code == 2
    assert message in stderr and "Traceback" not in stderr
    assert not (simulated_cluster.folder / "run").exists()


def test_wrong_timeout_is_refused(simulated_cluster: SimulatedCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCCL_CONNECT_TIMEOUT", "9000")
    code, _, stderr = simulated_cluster.answer("rank-table", *BOTH)
    assert code == 2
    assert "HCCL_CONNECT_TIMEOUT=9000: CANN accepts 120 to 7200 seconds" in stderr


def test_a_table_of_pods_will_do(simulated_cluster: SimulatedCluster) -> None:
    simulated_cluster.group()
    code, stdout, stderr = simulated_cluster.answer("rank-table", *BOTH, "--dry-run")
    assert code == 0, stderr
    assert "RANK_ID=15" in stdout
