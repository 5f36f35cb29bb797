"""Checkpoints as this package writes them, and as its earlier versions did."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from pangu_alpha.checkpoint import Health, save_whole


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small checkpoint of a step."""

    def write(step: int, root: Path = tmp_path, *, spike: bool = False, **state: Any) -> Path:
        tensors = {
            "a.weight": np.full((3, 2), step, np.float32),
            "b": np.float32([step]),
            "adam_m.b": np.float32([7]),
        }
        return save_whole(root, step, tensors, state, Health(3.5, 1.25, spike))

    return write


@pytest.fixture
def save_old(tmp_path: Path) -> Callable[..., Path]:
    """Writes a checkpoint as formats 1 and 2 were written: a file a group, a SHA-256 of each."""

    def write(step: int, version: int = 2, tensors: dict[str, Any] | None = None) -> Path:
        folder = tmp_path / f"step_{step:08d}"
        folder.mkdir()
        groups = {
            "weights": tensors or {"a.weight": np.full((3, 2), step, np.float32)},
            "optimizer": {"adam_m.b": np.float32([7])},
        }
        files = {}
        for group, values in groups.items():
            file = folder / f"{group}.safetensors"
            save_file(values, file)
            shapes = {name: list(value.shape) for name, value in values.items()}
            files[group] = {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "tensors": shapes}
        index = {"version": version, "step": step, "state": {"note": "记"}, "files": files}
        if version == 2:
            text = json.dumps(index, sort_keys=True, ensure_ascii=False)
            index["checksum"] = hashlib.sha256(text.encode()).hexdigest()
        (folder / "index.json").write_text(json.dumps(index, indent=1, ensure_ascii=False), encoding="utf-8")
        return folder

    return write


_KILLED = """
import sys
from pathlib import Path
import numpy as np
from pangu_alpha.checkpoint import prune, save_whole

print("ready", flush=True)
number = 100 * int(sys.argv[2])
while True:
    number += 1
    tensors = {name: np.full((400, 700), number, np.float32) for name in ("a", "adam_m.a", "adam_v.a")}
    save_whole(Path(sys.argv[1]), number % 3, tensors, {"value": number})
    prune(Path(sys.argv[1]), keep=2)
"""


@pytest.fixture(scope="session")
def killed_save() -> Callable[..., None]:
    """Lets a process save again and again, also over what is there, and kills it at some moment."""

    def run(root: Path, number: int) -> None:
        command = [sys.executable, "-c", _KILLED, str(root), str(number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            time.sleep(0.02 + 0.017 * number)
            process.kill()

    return run
