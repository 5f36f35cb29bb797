"""What can be trained is decided in one place."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from pangu_alpha.config import RunConfig
from pangu_alpha.errors import ConfigError
from pangu_alpha.training.runnable import default_backend, processes_of, refusals, require_runnable

Config = Callable[..., RunConfig]
SOURCES = "data.train=[{path: tokens/train}]"


SPLIT = (SOURCES, "parallel.mp=2", "parallel.pp=2", "train.num_micro_batches=2")


def test_ascend_devices_train_every_mesh_and_a_cpu_needs_the_emulator(make_config: Config) -> None:
    assert list(refusals(make_config(*SPLIT, "device=ascend"), "mindspore", 4)) == []
    config = make_config(*SPLIT)
    assert list(refusals(config, "emulator", None)) == []
    (error,) = refusals(config, "mindspore", 4)
    assert "parallel.mp=2 and parallel.pp=2" in str(error) and "--backend emulator" in str(error)


def test_the_backend_follows_from_the_recipe(make_config: Config) -> None:
    assert default_backend(make_config(*SPLIT), 1) == "emulator"
    assert default_backend(make_config(*SPLIT), 4) == "mindspore"
    assert default_backend(make_config(*SPLIT, "device=ascend"), 1) == "mindspore"
    assert default_backend(make_config(SOURCES), 1) == "mindspore"


def test_a_wrong_number_of_processes_is_explained(make_config: Config) -> None:
    config = make_config(SOURCES, "parallel.dp=2")
    require_runnable(config, "mindspore", 2)
    with pytest.raises(ConfigError, match=r"= 2, but this job has 3 process"):
        require_runnable(config, "mindspore", 3)


def test_the_launcher_says_how_many_processes_there_are() -> None:
    assert processes_of({}) == 1
    assert processes_of({"RANK_SIZE": "8", "MS_WORKER_NUM": ""}) == 8
    assert processes_of({"RANK_SIZE": "8", "MS_WORKER_NUM": "3"}) == 3
    with pytest.raises(ConfigError, match="RANK_SIZE=many in the environment"):
        processes_of({"RANK_SIZE": "many"})


def test_it_is_asked_without_mindspore() -> None:
    code = "import sys, pangu_alpha.training.runnable; sys.exit('mindspore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
