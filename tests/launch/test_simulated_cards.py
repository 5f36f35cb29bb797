"""Sixteen cards on two servers, simulated: MindSpore really trains, in processes that two launchers have started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import TinyProject
    from tests.launch.conftest import SimulatedCluster

ROOT = Path(__file__).parents[2]


def test_sixteen_cards_equal_one(tiny_project: TinyProject, simulated_cluster: SimulatedCluster) -> None:
    settings = ("train.steps=2", "train.batch_size=16", "fuse_operators=false", "data.validation=[]")
    alone = tiny_project.pangu("train", "recipe.yaml", *settings, "output=one_card")
    assert alone.returncode == 0, alone.stderr
    table, hosts = simulated_cluster.folder / "table.json", simulated_cluster.folder / "hosts"
    words = ("recipe.yaml", str(table), *settings, "parallel.dp=16", "output=sixteen_cards", "--hosts", str(hosts))
    environment = {
        **tiny_project.environment(),
        "PYTHON": sys.executable,
        "PATH": f"{ROOT / 'tests' / 'stand_in'}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", str(ROOT / "launch" / "train_rank_table.sh"), *words],
        cwd=tiny_project.folder, env=environment, capture_output=True, encoding="utf-8", timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected, got = tiny_project.losses("one_card"), tiny_project.losses("sixteen_cards")
    assert [step for step, _, _ in got] == [1, 2]
    for (_, loss, norm), (_, got_loss, got_norm) in zip(expected, got, strict=True):
        assert got_loss == pytest.approx(loss, abs=1e-5)
        assert got_norm == pytest.approx(norm, rel=1e-4)
    logs = tiny_project.folder / "sixteen_cards" / "logs"
    assert {path.name for path in logs.glob("rank_*.log")} == {f"rank_{rank}.log" for rank in range(16)}
    assert "step 2/2" in done.stderr
