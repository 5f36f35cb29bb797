"""Recipes to look at."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pangu_alpha.config import RunConfig, build_config

Build = Callable[..., RunConfig]
Executable = Callable[[str, str], Path]


@pytest.fixture
def recipe() -> Build:
    """Builds a small recipe with the given overrides."""

    def build(*overrides: str, **sections: Any) -> RunConfig:
        values = {
            "device": "cpu",
            "model": {"preset": "tiny"},
            "data": {"train": [{"path": "tokens/train"}]},
            "train": {"steps": 1, "batch_size": 64, "num_micro_batches": 4},
            "schedule": {"learning_rate": 1e-3, "end_learning_rate": 1e-4, "decay_steps": 3000},
        }
        return build_config({**values, **sections}, overrides)

    return build


@pytest.fixture
def executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Executable:
    """Puts a program of the given name and text first on PATH."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
        return path

    return write
