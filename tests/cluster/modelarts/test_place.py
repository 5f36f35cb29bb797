from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from pangu_alpha.cluster.modelarts.place import fetch_results, find_place
from pangu_alpha.cluster.rank_tables.rank_table import Device, Server, numbered, write_rank_table
from pangu_alpha.errors import ClusterError


@pytest.fixture
def job_table(tmp_path: Path) -> Path:
    servers = [
        Server(f"10.0.0.{1 + n}", tuple(Device(i, 0, f"192.168.{n}.{1 + i}") for i in range(8))) for n in range(2)
    ]
    path = tmp_path / "jobstart_hccl.json"
    write_rank_table(numbered("1.0", servers), path)
    return path


def test_place_of_every_card(job_table: Path) -> None:
    for rank in range(16):
        environment = {
            "RANK_TABLE_FILE": str(job_table),
            "RANK_ID": str(rank),
            "ASCEND_DEVICE_ID": str(rank % 8),
            "VC_WORKER_HOSTS": "modelarts-job-1f-worker-0.svc,modelarts-job-1f-worker-1.svc",
        }
        place = find_place(environment, 0.0)
        assert (place.card.rank, place.card.device_id) == (rank, rank % 8)
        assert place.node_ranks == tuple(range(rank // 8 * 8, rank // 8 * 8 + 8))
        assert place.is_first == (rank in (0, 8))
        assert place.job_id == "modelarts_job_1f_worker_0_svc_modelarts_job_1f_worker_1_svc"


def test_place_without_rank_id(job_table: Path) -> None:
    environment = {
        "RANK_TABLE_FILE": str(job_table),
        "DEVICE_ID": "5",
        "VC_TASK_INDEX": "1",
        "MA_NUM_GPUS": "8",
        "BATCH_JOB_ID": "a/b",
    }
    place = find_place(environment, 0.0)
    assert place.card.rank == 13
    assert place.job_id == "a_b"
    del environment["MA_NUM_GPUS"]
    with pytest.raises(ClusterError, match="the environment has no MA_NUM_GPUS"):
        find_place(environment, 0.0)


def test_waits_for_the_rank_table(job_table: Path) -> None:
    environment = {"RANK_TABLE_FILE": str(job_table), "RANK_ID": "3", "DEVICE_ID": "3", "JOB_ID": "1"}
    complete = job_table.read_text()
    job_table.write_text(json.dumps({"status": "initializing", "server_list": []}))
    with pytest.raises(ClusterError, match=r"not completed in 0 s \(initializing\)"):
        find_place(environment, 0.0)

    def finish() -> None:
        time.sleep(0.2)
        job_table.write_text(complete)

    thread = threading.Thread(target=finish)
    thread.start()
    assert find_place(environment, 200.0).card.rank == 3
    thread.join()


def test_fetches_what_is_needed_to_go_on(tmp_path: Path) -> None:
    kept = tmp_path / "bucket"
    for step in (100, 200, 300, 400):
        folder = kept / "checkpoints" / f"step_{step:08d}"
        folder.mkdir(parents=True)
        (folder / "weights.safetensors").write_text(f"weights {step}")
        if step < 400:  # the job died while the newest was copied
            (folder / "index.json").write_text("{}")
    for name in (
        "metrics.jsonl",
        "logs/rank_3.log",
        "logs/attempt_0/rank_3.log",
        "logs/rank_9.log",
        "heartbeats/rank_3.json",
    ):
        (kept / name).parent.mkdir(parents=True, exist_ok=True)
        (kept / name).write_text("kept")
    output = tmp_path / "output"
    output.mkdir()
    (output / "metrics.jsonl").write_text("newer than what was copied")
    fetch_results(str(kept), output, ranks=(3,))
    found = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    assert found == {
        "checkpoints/step_00000200/index.json",
        "checkpoints/step_00000200/weights.safetensors",
        "checkpoints/step_00000300/index.json",
        "checkpoints/step_00000300/weights.safetensors",
        "logs/rank_3.log",
        "logs/attempt_0/rank_3.log",
        "metrics.jsonl",
    }
    assert (output / "metrics.jsonl").read_text() == "newer than what was copied"


def test_place_in_a_table_of_pods(tmp_path: Path) -> None:
    """CANN numbers servers by their ids; the platform says only the pod's number."""
    path = tmp_path / "jobstart_hccl.json"
    instances = [
        {
            "pod_name": f"job-1f-train-{pod}",
            "server_id": server_id,
            "devices": [{"device_id": str(d), "device_ip": f"192.168.{pod}.{d + 1}"} for d in range(8)],
        }
        for pod, server_id in enumerate(("10.0.0.9", "10.0.0.10"))
    ]
    group = {"group_name": "train", "device_count": "16", "instance_count": "2", "instance_list": instances}
    path.write_text(json.dumps({"status": "completed", "group_count": "1", "group_list": [group]}))
    environment = {"RANK_TABLE_FILE": str(path), "ASCEND_DEVICE_ID": "5", "VC_TASK_INDEX": "0", "JOB_ID": "1"}
    assert find_place(environment, 0.0).card.rank == 13  # "10.0.0.10" is first
    assert find_place({**environment, "VC_TASK_INDEX": "1"}, 0.0).card.rank == 5
    with pytest.raises(ClusterError, match="0 pods of the rank table have that number"):
        find_place({**environment, "VC_TASK_INDEX": "2"}, 0.0)
