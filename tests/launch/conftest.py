"""Two servers of eight cards each, simulated on this machine: their addresses are both its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.cli.main import main
from pangu_alpha.cluster.rank_tables.rank_table import Device, Server, numbered, write_rank_table

STAND_IN = Path(__file__).parents[1] / "stand_in"
RECIPE = """\
output: run
model: {num_layers: 2, hidden_size: 32, num_heads: 2, vocab_size: 470, seq_length: 32,
        final_norm: before_query_layer}
train: {steps: 5, batch_size: 16}
data: {train: [{path: tokens/train}]}
parallel: {dp: 16}
schedule: {learning_rate: 1.0e-3, end_learning_rate: 1.0e-4, warmup_steps: 10, decay_steps: 300}
"""


@dataclass
class SimulatedCluster:
    """A folder that all servers see, with recipe, rank table and hosts file."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def behave(self, text: str) -> None:
        """Decide what the ranks do; see stand_in/rank.py."""
        (self.folder / "behaviour").write_text(text)

    def start(self, kind: str, *words: str) -> subprocess.Popen[str]:
        """Start a launcher of a kind whose ranks are stand-ins, with the stand-in ssh."""
        command = [sys.executable, str(STAND_IN / "launch.py"), "launch", kind, *words]
        environment = {**os.environ, "PATH": f"{STAND_IN}:{os.environ['PATH']}"}
        process = subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.started.append(process)
        return process

    def run(self, kind: str, *words: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a launcher."""
        process = self.start(kind, *words)
        stdout, stderr = process.communicate(timeout=280)
        return process.returncode, stdout, stderr

    def answer(self, kind: str, *words: str) -> tuple[int, str, str]:
        """The same in this process, for commands that start nothing."""
        stdout, stderr, before = io.StringIO(), io.StringIO(), Path.cwd()
        os.chdir(self.folder)
        try:
            with redirect_stdout(stdout), redirect_stderr(stderr):
                code = main(["launch", kind, *words])
        finally:
            os.chdir(before)
        return code, stdout.getvalue(), stderr.getvalue()

    def group(self) -> None:
        """Write the rank table as ModelArts does: a pod of the job a server, and no ranks."""
        servers = json.loads((self.folder / "table.json").read_text())["server_list"]
        pods = [
            {
                "pod_name": f"job-1-train-{pod}",
                "server_id": server["server_id"],
                "devices": [{key: entry[key] for key in ("device_id", "device_ip")} for entry in server["device"]],
            }
            for pod, server in enumerate(servers)
        ]
        group = {"group_name": "train", "device_count": "16", "instance_count": "2", "instance_list": pods}
        document = {"status": "completed", "group_count": "1", "group_list": [group]}
        (self.folder / "table.json").write_text(json.dumps(document))

    def seen(self, rank: int, run: str = "run") -> dict[str, Any]:
        """What a rank has left."""
        seen: dict[str, Any] = json.loads((self.folder / run / "seen" / f"{rank}.json").read_text())
        return seen

    def wait_for(self, ranks: Sequence[int], process: subprocess.Popen[str]) -> None:
        """Wait until `ranks` compute."""
        deadline = time.monotonic() + 280
        while not all((self.folder / "run" / "seen" / f"{rank}.json").exists() for rank in ranks):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "the ranks did not begin"
            time.sleep(0.02)

    def still_running(self) -> list[int]:
        """Ranks whose process is there."""
        seen = [(int(path.stem), path) for path in (self.folder / "run" / "seen").glob("*.json")]
        return [rank for rank, path in seen if Path(f"/proc/{json.loads(path.read_text())['process']}").exists()]


@pytest.fixture
def simulated_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedCluster]:
    # MindSpore, when other tests import it, sets this to what the launchers take for the user's own value.
    monkeypatch.delenv("HCCL_CONNECT_TIMEOUT", raising=False)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "hosts").write_text("127.0.0.1\n127.0.0.2\n")
    servers = [
        Server(address, tuple(Device(i, 0, f"192.168.{100 + i % 4}.{1 + n * 2 + i // 4}") for i in range(8)))
        for n, address in enumerate(("127.0.0.1", "127.0.0.2"))
    ]
    write_rank_table(numbered("1.0", servers), tmp_path / "table.json")
    cluster = SimulatedCluster(tmp_path)
    cluster.behave("seconds=0")
    yield cluster
    for process in cluster.started:
        process.kill()
        process.wait()
