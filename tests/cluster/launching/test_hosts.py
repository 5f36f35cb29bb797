"""Servers reached over ssh, simulated: the stand-in for ssh starts real processes on this machine."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pangu_alpha.cluster.launching.hosts import ssh_words, start_host
from pangu_alpha.cluster.launching.job import KILL, Job, ProcessOrder
from pangu_alpha.cluster.launching.node import Order
from pangu_alpha.cluster.launching.plan import JobServer
from pangu_alpha.errors import ClusterError, TrainingError

SSH = str(Path(__file__).parents[2] / "stand_in" / "ssh")


def _order(folder: Path, name: str, script: str) -> Order:
    """One rank on one server."""
    return Order(
        directory=str(folder),
        environment={"TEXT": "天下 大势"},
        tasks=(ProcessOrder(f"rank {name}", ("sh", "-c", script), {"RANK_ID": name}),),
        logs="logs",
        attempt="logs/attempt_0",
        record=f"logs/exits_{name}.json",
        shown=f"logs/rank_{name}.log",
    )


def _logs(folder: Path) -> Path:
    logs = folder / "logs"
    logs.mkdir()
    return logs


def test_order_survives_the_journey(tmp_path: Path) -> None:
    order = _order(tmp_path, "3", "echo '引号' \"$TEXT\"\n")
    assert Order.from_json(order.to_json().encode()).to_json() == order.to_json()
    assert "\n" not in order.to_json()


def test_rank_runs_as_ordered(tmp_path: Path) -> None:
    logs = _logs(tmp_path)
    with Job([]) as job:
        job.members.append(start_host("server", _order(tmp_path, "3", 'echo "$TEXT $RANK_ID"; pwd'), SSH, logs))
        job.watch(None)
    assert (logs / "rank_3.log").read_text() == f"天下 大势 3\n{tmp_path}\n"
    assert (logs / "host_server.log").read_text() == (logs / "rank_3.log").read_text()
    assert json.loads((logs / "exits_3.json").read_text())[0]["exit_code"] == 0


def test_logs_that_the_leader_does_not_see_are_kept(tmp_path: Path) -> None:
    logs = _logs(tmp_path)
    (logs / "rank_3.log").write_text("attempt 0")
    with Job([]) as job:
        job.members.append(start_host("server", _order(tmp_path, "3", "true"), SSH, logs))
        job.watch(None)
    assert (logs / "attempt_0" / "rank_3.log").read_text() == "attempt 0"


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({"script": "echo 显存不足; exit 9"}, r"host server: rank 3 died \(exit code 9\).*\n  显存不足"),
        ({"script": "kill -9 $$"}, r"host server: rank 3 died \(killed by SIGKILL\)"),
        ({"script": "true", "folder": Path("/nowhere")}, r"host server: .*/nowhere"),
    ],
)
def test_failures_are_told(tmp_path: Path, order: dict[str, object], message: str) -> None:
    values = {"folder": tmp_path, "name": "3", **order}
    with Job([]) as job, pytest.raises(TrainingError, match=message):
        job.members.append(start_host("server", _order(**values), SSH, _logs(tmp_path)))  # type: ignore[arg-type]
        job.watch(None)


def test_server_without_python_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/no/python")
    with Job([]) as job, pytest.raises(TrainingError, match=r"host server: exit code 127.*\n.*/no/python"):
        job.members.append(start_host("server", _order(tmp_path, "3", "true"), SSH, _logs(tmp_path)))
        job.watch(None)


def test_missing_ssh(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="name another with --ssh"):
        start_host("server", _order(tmp_path, "3", "true"), "no_ssh -q", _logs(tmp_path))


@pytest.mark.parametrize("address", ["-oProxyCommand=touch x", "../x"])
def test_an_address_is_no_option_and_no_path(address: str, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="is not the name of a host"):
        start_host(address, _order(tmp_path, "3", "true"), "ssh", _logs(tmp_path))
    with pytest.raises(ClusterError, match="is not the name of a host"):
        JobServer(address, ())


@pytest.mark.parametrize("ssh", ["", "ssh 'x"])
def test_an_ssh_that_is_no_command(ssh: str) -> None:
    with pytest.raises(ClusterError, match="--ssh"):
        ssh_words("npu7", ssh)


def test_ssh_gets_its_options() -> None:
    assert ssh_words("npu7", "ssh -p 2222")[:5] == ["ssh", "-p", "2222", "--", "npu7"]


def _has(path: Path, text: str) -> Callable[[], bool]:
    return lambda: path.exists() and text in path.read_text()


def test_stop_and_kill_reach_the_rank(tmp_path: Path, meanwhile: Callable[..., None]) -> None:
    script = "trap 'echo saving' TERM; echo ready; while true; do sleep 0.05; done"
    logs = _logs(tmp_path)
    requests: list[int] = []

    log = logs / "rank_3.log"
    meanwhile(
        requests,
        (_has(log, "ready"), lambda: requests.append(signal.SIGTERM)),
        (_has(log, "saving"), lambda: requests.append(KILL)),
    )
    with pytest.raises(TrainingError, match="ended at once, as asked"), Job(requests) as job:
        job.members.append(start_host("server", _order(tmp_path, "3", script), SSH, logs))
        job.watch(None)
    assert job.members[0].process.returncode == 1
    assert (logs / "rank_3.log").read_text() == "ready\nsaving\n"


def test_rank_that_does_not_save_is_told(tmp_path: Path, meanwhile: Callable[..., None]) -> None:
    logs = _logs(tmp_path)
    requests: list[int] = []

    meanwhile(requests, (_has(logs / "rank_3.log", "ready"), lambda: requests.append(signal.SIGTERM)))
    with pytest.raises(TrainingError, match=r"host server: .*rank 3 died \(exit code 28\)"), Job(requests) as job:
        script = "trap 'echo no space; exit 28' TERM; echo ready; while true; do sleep 0.05; done"
        job.members.append(start_host("server", _order(tmp_path, "3", script), SSH, logs))
        job.watch(None)


def test_256_hosts(tmp_path: Path, meanwhile: Callable[..., None]) -> None:
    (tmp_path / "started").mkdir()
    script = "echo $$ > started/$RANK_ID; [ $RANK_ID != 200 ] || while [ ! -e fail ]; do sleep 0.1; done && exit 5; "
    script = script.replace("&& exit 5; ", "; [ $RANK_ID != 200 ] || exit 5; exec sleep 1000")
    logs = _logs(tmp_path)

    requests: list[int] = []

    def all_have_started() -> bool:
        return sum(1 for _ in (tmp_path / "started").iterdir()) == 256

    meanwhile(requests, (all_have_started, (tmp_path / "fail").touch), seconds=500)
    with (
        pytest.raises(TrainingError, match=r"^host 10.0.0.200: rank 200 died \(exit code 5\)") as caught,
        Job(requests) as job,
    ):
        for host in range(256):
            job.members.append(start_host(f"10.0.0.{host}", _order(tmp_path, str(host), script), SSH, logs))
        job.watch(job.members[0].log)
    assert str(caught.value).count("died") == 1
    ranks = [Path(f"/proc/{path.read_text().strip()}") for path in (tmp_path / "started").iterdir()]
    deadline = time.monotonic() + 200  # the job does not wait for long for 256 servers, and they end by themselves
    while any(rank.exists() for rank in ranks):
        assert time.monotonic() < deadline, "ranks go on"
        time.sleep(0.05)
