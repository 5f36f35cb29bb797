"""The run that others are compared with, and ranks on simulated devices."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pangu_alpha.cluster.launching.environment import Card, card_environment
from pangu_alpha.compiler.standin import simulated_environment
from pangu_alpha.rehearsal.life import COMMAND
from pangu_alpha.training.rehearsed import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conftest import TinyProject


@pytest.fixture(scope="session")
def reference_run(tiny_project: TinyProject) -> str:
    """Output directory of an uninterrupted training of 300 steps."""
    done = tiny_project.pangu("train", "recipe.yaml", "output=reference", "--hardware", "910a")
    assert done.returncode == 0, done.stderr
    return "reference"


def start_simulated_rank(project: TinyProject, rank: int, played: Sequence[int], *words: str) -> subprocess.Popen[str]:
    """Start `pangu` as a rank of four, on MindSpore's simulated device; `played` are all ranks that are started."""
    environment = {
        **project.environment(),
        **simulated_environment(rank, 4, 1, "Ascend910A", has_memory=True),
        **card_environment("ascend", Card(rank, rank), 4),
        VARIABLE: ",".join(map(str, played)),
    }
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words],
        cwd=project.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
