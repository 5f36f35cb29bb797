"""A Ray cluster of several nodes on this machine makes the same corpus as processes do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.corpus.conftest import chinese_text, write_jsonl
from tests.corpus.test_running import contents, ledger, pangu_corpus

pytest.importorskip("ray", reason="the extra `corpus-cluster` is not installed")
RECIPE = "preset: pangu_alpha_2021\nsources: {web: {}}\nlimits: {piece_bytes: 10000}\n"
_CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 << 20})
for _ in range(2):
    cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of three nodes."""
    environment = {**os.environ, "RAY_DISABLE_IMPORT_WARNING": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    process = subprocess.Popen(
        [sys.executable, "-c", _CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.communicate("", timeout=60)


def test_three_nodes_make_the_same_corpus_as_processes(tmp_path: Path, cluster: str) -> None:
    texts = [chinese_text(seed) for seed in range(60)]
    write_jsonl(tmp_path / "a.jsonl", [*texts, *texts[:5]])
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    words = ["run", "recipe.yaml", "--input", "a.jsonl"]
    done = pangu_corpus(tmp_path, *words, "--output", "by_ray", "--ray", cluster)
    assert done.returncode == 0, done.stderr
    assert pangu_corpus(tmp_path, *words, "--output", "by_processes", "--workers", "1").returncode == 0
    assert len(ledger(tmp_path / "by_ray")) == 65
    assert contents(tmp_path / "by_ray") == contents(tmp_path / "by_processes")


def test_a_cluster_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [chinese_text(1)])
    words = ["run", "mnbvc", "--input", "a.jsonl", "--output", "out", "--ray", "127.0.0.1:1"]
    done = pangu_corpus(tmp_path, *words)
    assert done.returncode == 2 and "no Ray cluster at '127.0.0.1:1'" in done.stderr
