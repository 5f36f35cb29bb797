"""A Ray cluster of several nodes on this machine makes the same corpus as processes do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.corpus.conftest import chinese_text, write_jsonl
from tests.corpus.test_running import contents, ledger, pangu_corpus, start

pytest.importorskip("ray", reason="the extra `corpus-cluster` is not installed")
RECIPE = "preset: pangu_alpha_2021\nsources: {web: {}}\nlimits: {piece_bytes: 10000}\n"
_CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 << 20})
nodes = [cluster.add_node(num_cpus=1, object_store_memory=100 << 20) for _ in range(2)]
processes = [cluster.head_node.all_processes["gcs_server"], *(node.all_processes["raylet"] for node in nodes)]
print(cluster.address, *(some[0].process.pid for some in processes), flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@dataclass(frozen=True)
class Cluster:
    """Three nodes of one processor each."""

    address: str
    head: int
    """Process id of what the head node manages the cluster with."""
    raylets: tuple[int, ...]
    """Process ids of what manages a node, of the two that are not the head."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
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
    address, head, *raylets = process.stdout.readline().split()
    yield Cluster(address, int(head), tuple(map(int, raylets)))
    process.communicate("", timeout=60)


def test_three_nodes_make_the_same_corpus_as_processes(tmp_path: Path, cluster: Cluster) -> None:
    texts = [chinese_text(seed) for seed in range(60)]
    write_jsonl(tmp_path / "a.jsonl", [*texts, *texts[:5]])
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    words = ["run", "recipe.yaml", "--input", "a.jsonl"]
    done = pangu_corpus(tmp_path, *words, "--output", "by_ray", "--ray", cluster.address)
    assert done.returncode == 0, done.stderr
    assert pangu_corpus(tmp_path, *words, "--output", "by_processes", "--workers", "1").returncode == 0
    assert len(ledger(tmp_path / "by_ray")) == 65
    assert contents(tmp_path / "by_ray") == contents(tmp_path / "by_processes")


def workers_at_work(raylet: int) -> list[int]:
    """The processes of this node that are doing a task: Ray renames them."""
    children = Path(f"/proc/{raylet}/task/{raylet}/children").read_text(encoding="utf-8").split()
    commands = {int(child): Path(f"/proc/{child}/cmdline") for child in children}
    return [pid for pid, path in commands.items() if path.exists() and path.read_bytes().startswith(b"ray::do")]


def many_pieces(folder: Path) -> list[str]:
    """The words of a run with a piece for each text; what processes make of it is there already."""
    texts = [chinese_text(seed, 40) for seed in range(30)]
    write_jsonl(folder / "a.jsonl", [*texts, *texts[:5]])
    recipe = RECIPE.replace("10000", "3000") + "duplicates: {near: {bands: 4}}\n"
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    words = ["run", "recipe.yaml", "--input", "a.jsonl"]
    assert pangu_corpus(folder, *words, "--output", "by_processes", "--workers", "1").returncode == 0
    return words


def test_the_loss_of_a_node_in_the_middle_changes_nothing(tmp_path: Path, cluster: Cluster) -> None:
    words = many_pieces(tmp_path)
    process = start(tmp_path, *words, "--output", "by_ray", "--ray", cluster.address)
    done, raylet = tmp_path / "by_ray" / "work" / "clean", cluster.raylets[0]
    workers: list[int] = []
    while process.poll() is None and not (list(done.glob("[0-9]*")) and workers):
        time.sleep(0.002)
        workers = workers_at_work(raylet)
    for pid in [raylet, *workers]:
        os.kill(pid, signal.SIGKILL)
    assert process.poll() is None and not (tmp_path / "by_ray" / "summary.json").exists(), "lost too late"
    _, said = process.communicate(timeout=400)
    assert process.returncode == 0, said
    assert contents(tmp_path / "by_ray") == contents(tmp_path / "by_processes")


def test_a_cluster_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [chinese_text(1)])
    words = ["run", "mnbvc", "--input", "a.jsonl", "--output", "out", "--ray", "127.0.0.1:1"]
    done = pangu_corpus(tmp_path, *words)
    assert done.returncode == 2 and "no Ray cluster at '127.0.0.1:1'" in done.stderr


def test_the_loss_of_the_head_is_a_sentence_and_the_command_goes_on(tmp_path: Path, cluster: Cluster) -> None:
    words = many_pieces(tmp_path)
    process = start(tmp_path, *words, "--output", "by_ray", "--ray", cluster.address)
    done = tmp_path / "by_ray" / "work" / "clean"
    while process.poll() is None and not list(done.glob("[0-9]*")):
        time.sleep(0.002)
    os.kill(cluster.head, signal.SIGSTOP)  # so that the command is in the middle of a question when it goes
    time.sleep(2)
    os.kill(cluster.head, signal.SIGKILL)
    _, said = process.communicate(timeout=300)  # Ray alone takes a minute, and then says nothing
    assert process.returncode == 2 and f"the head node of the Ray cluster, {cluster.address}, is gone" in said
    assert list(done.glob("[0-9]*")) and not (tmp_path / "by_ray" / "summary.json").exists()
    again = pangu_corpus(tmp_path, *words, "--output", "by_ray", "--workers", "1")
    assert again.returncode == 0, again.stderr
    assert contents(tmp_path / "by_ray") == contents(tmp_path / "by_processes")
