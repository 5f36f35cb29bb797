"""`pangu status` and `pangu diagnose` on runs that real records were written for."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pangu_alpha.checkpoint import Health, mark_lost, save_whole
from pangu_alpha.cli.main import main
from pangu_alpha.cluster.watching.heartbeat import HeartbeatWriter
from pangu_alpha.config import RunConfig, build_config

WEIGHTS = {"final_norm.gamma": np.ones(8, np.float32)}


@pytest.fixture
def one_rank_run(tmp_path: Path) -> RunConfig:
    """The settings of a run of one rank."""
    return build_config(
        {
            "device": "cpu",
            "output": str(tmp_path / "run"),
            "model": {"preset": "tiny", "compute_dtype": "float32"},
            "train": {"steps": 100, "batch_size": 4},
            "schedule": {"learning_rate": 1e-3, "end_learning_rate": 1e-4, "warmup_steps": 1, "decay_steps": 100},
        }
    )


def test_status_of_a_run(one_rank_run: RunConfig, capsys: pytest.CaptureFixture[str]) -> None:
    with HeartbeatWriter(one_rank_run, 0) as writer:
        writer.report("training", 57)
        assert main(["status", str(one_rank_run.output)]) == 0
    out = capsys.readouterr().out
    assert "1 ranks on 1 host(s), 100 steps" in out
    assert "rank 0  1 ×  training  step 57" in out


def test_the_pace_stands_beside_the_plan(one_rank_run: RunConfig, capsys: pytest.CaptureFixture[str]) -> None:
    with HeartbeatWriter(one_rank_run, 0) as writer:
        writer.report("training", 57)
        assert main(["status", str(one_rank_run.output), "--hardware", "910a"]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.startswith("pace: ") and last.endswith("none is measured yet")
        assert main(["status", str(one_rank_run.output), "--hardware", "911a"]) == 2
    assert "no chip '911a'" in capsys.readouterr().err


def test_watching_ends_with_the_run(one_rank_run: RunConfig) -> None:
    writer = HeartbeatWriter(one_rank_run, 0)
    with writer:
        writer.report("compiling", 0)
        command = [sys.executable, "-m", "pangu_alpha.cli.main", "status", str(one_rank_run.output), "--watch"]
        watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert watch.stdout is not None
        assert "1 ranks" in watch.stdout.readline()
        assert "compiling" in watch.stdout.readline()
    out, _ = watch.communicate(timeout=200)
    assert watch.returncode == 0
    assert "all ranks have ended well" in out


def test_diagnosis_of_a_failed_run(one_rank_run: RunConfig, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match="No space"), HeartbeatWriter(one_rank_run, 0) as writer:
        writer.report("saving", 57)
        raise OSError(28, "No space left on device", "weights.safetensors")
    root = one_rank_run.output / "checkpoints"
    folder, lost = (save_whole(root, step, WEIGHTS, {}, Health(3.0, 1.0, is_spike=False)) for step in (50, 55))
    mark_lost(lost)
    assert main(["diagnose", str(one_rank_run.output)]) == 0
    out = capsys.readouterr().out
    assert "rank 0 failed first" in out and "after step 57" in out
    assert "why    the disk, the quota or the limit on file sizes is used up" in out
    assert f"passing over {lost}: the loss of its weights is not finite" in out
    assert out.endswith(f"the newest checkpoint is {folder}\n")
    (one_rank_run.output / "logs").mkdir(exist_ok=True)
    (one_rank_run.output / "logs" / "command.sh").write_text("cd /data && bash launch.sh\n")
    main(["diagnose", str(one_rank_run.output)])
    assert capsys.readouterr().out.endswith("go on from it with:\n  cd /data && bash launch.sh\n")


def test_diagnosis_of_a_healthy_run_shows_its_status(
    one_rank_run: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    with HeartbeatWriter(one_rank_run, 0) as writer:
        writer.report("compiling", 0)
        assert main(["diagnose", str(one_rank_run.output)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("nothing has failed\n") and "compiling: the first step comes after it" in out


def test_diagnosis_of_an_earlier_attempt(one_rank_run: RunConfig, capsys: pytest.CaptureFixture[str]) -> None:
    logs = one_rank_run.output / "logs" / "attempt_0"
    logs.mkdir(parents=True)
    (logs / "exits.json").write_text(json.dumps([{"rank": 0, "signal": "SIGSEGV", "time": time.time()}]))
    assert main(["diagnose", str(one_rank_run.output), "--attempt", "0"]) == 0
    assert "crashed (SIGSEGV) in compiled code" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["status", "diagnose"])
def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, str(tmp_path)]) == 2
    assert "output directory of a run" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["status", "diagnose"])
def test_they_start_without_mindspore_at_once(verb: str, one_rank_run: RunConfig) -> None:
    with HeartbeatWriter(one_rank_run, 0):
        pass
    code = (
        "import sys; from pangu_alpha.cli.main import main; "
        f"main([{verb!r}, {str(one_rank_run.output)!r}]); print('mindspore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
