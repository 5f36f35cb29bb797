"""Small valid rank tables of all formats, as the HCCL user guide writes them, and what the ranks of a run leave."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.cluster.launching.job import KILL

Document = dict[str, Any]
Pair = tuple[Callable[[], bool], Callable[[], object]]
NOW = 1_800_000_000.0
"""Seconds since 1970 at which the runs of `recorded_run` are looked at."""


@dataclass(frozen=True)
class RecordedRun:
    """A run's directory that is filled by hand."""

    output: Path
    now: float = NOW

    def say(self, rank: int, phase: str, step: int | None = None, age: float = 0.5, **values: Any) -> None:
        """Write the record of a rank that began `phase`, or did `step`, `age` seconds ago."""
        record = {
            "rank": rank, "num_ranks": 4, "phase": phase, "step": step, "since": self.now - age, "time": self.now - 0.2,
            "host": f"node-{rank // 2}", "pid": 4000 + rank, "settings": "usual", "step_seconds": 0.5 if step else 0.0,
        }  # fmt: skip
        record |= values
        path = self.write(f"heartbeats/rank_{rank}.json", json.dumps(record))
        # Else the real date would be in it, and once that is close to `now` be taken for what a clock is ahead.
        os.utime(path, (record["time"], record["time"]))
        if not (self.output / "heartbeats" / "settings_usual.json").exists():
            self.write("heartbeats/settings_usual.json", json.dumps({"train": {"steps": 100, "seed": 1}}))

    def write(self, name: str, text: str) -> Path:
        """Write a file of the run."""
        path = self.output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def end(self, *ends: Document) -> None:
        """Write how processes ended; without a time, that is 1 s ago."""
        self.write("logs/exits.json", json.dumps([{"time": self.now - 1, **end} for end in ends]))


@pytest.fixture
def meanwhile() -> Callable[..., None]:
    """Acts beside a job that the test watches: `meanwhile(requests, (condition, act), ...)`, one after the other.

    When a condition does not come true in time, the job is ended at once, so that the test fails instead of hanging.
    """

    def begin(
        requests: list[int], *pairs: tuple[Callable[[], bool], Callable[[], object]], seconds: float = 200
    ) -> None:
        def work() -> None:
            end = time.monotonic() + seconds
            for condition, act in pairs:
                while not condition():
                    if time.monotonic() > end:
                        requests.append(KILL)
                        return
                    time.sleep(0.01)
                act()

        threading.Thread(target=work, daemon=True).start()

    return begin


@pytest.fixture
def recorded_run(tmp_path: Path) -> RecordedRun:
    """An empty run's directory."""
    return RecordedRun(tmp_path)


@pytest.fixture
def rank_table_documents() -> dict[str, Document]:
    """A table of each format: two servers of 8 devices; of 1.2, two super-pods of one server of 16."""
    return {"1.0": _format_1_0(), "1.2": _format_1_2(), "2.0": _format_2_0()}


@pytest.fixture
def rank_table_file(tmp_path: Path) -> Callable[[Document], Path]:
    """Write a document to a file of its own."""
    written: list[Path] = []

    def write(document: Document) -> Path:
        written.append(tmp_path / f"table{len(written)}.json")
        written[-1].write_text(json.dumps(document), encoding="utf-8")
        return written[-1]

    return write


def _format_1_0() -> Document:
    servers = [
        {
            "server_id": f"10.0.0.{s + 1}",
            "device": [
                {
                    "device_id": str(d),
                    "device_ip": f"192.168.{100 + d % 4}.{101 + 2 * s + d // 4}",
                    "rank_id": str(8 * s + d),
                }
                for d in range(8)
            ],
            "host_nic_ip": "reserve",
        }
        for s in range(2)
    ]
    return {"version": "1.0", "server_count": "2", "server_list": servers, "status": "completed"}


def _format_1_2() -> Document:
    servers = [
        {
            "server_id": f"node_{s}",
            "host_ip": f"172.16.0.{100 + s}",
            "device": [
                {
                    "device_id": str(d),
                    "super_device_id": str(d),
                    "device_ip": f"192.168.{s + 1}.{d + 1}",
                    "device_port": str(16666 + d),
                    "rank_id": str(16 * s + d),
                }
                for d in range(16)
            ],
        }
        for s in range(2)
    ]
    pods = [{"super_pod_id": str(s), "server_list": [{"server_id": f"node_{s}"}]} for s in range(2)]
    return {
        "status": "completed",
        "version": "1.2",
        "server_count": "2",
        "server_list": servers,
        "super_pod_list": pods,
    }


def _format_2_0() -> Document:
    ranks = [
        {
            "rank_id": r,
            "device_id": r % 8,
            "local_id": r % 8,
            "device_port": 6666,
            "level_list": [
                {
                    "net_layer": 0,
                    "net_instance_id": f"az0-rack{r // 8}",
                    "net_type": "TOPO_FILE_DESC",
                    "net_attr": "",
                    "rank_addr_list": [
                        {"addr_type": "EID", "addr": f"{r:032x}", "ports": ["0/0"], "plane_id": "plane0"},
                    ],
                },
                {
                    "net_layer": 1,
                    "net_instance_id": "az0",
                    "net_type": "CLOS",
                    "net_attr": "",
                    "rank_addr_list": [
                        {"addr_type": "IPV4", "addr": f"192.168.101.{r + 1}", "ports": ["0/7", "0/8"]},
                    ],
                },
                {"net_layer": 3, "net_instance_id": "all", "net_type": "CLOS", "net_attr": "", "rank_addr_list": None},
            ],
        }
        for r in range(16)
    ]
    return {"version": "2.0", "status": "completed", "detour": "true", "rank_count": 16, "rank_list": ranks}
