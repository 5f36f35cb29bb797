"""`pangu train --backend emulator`: the same training as on one CPU process, handed to and fro between layouts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pangu_alpha.checkpoint import open_checkpoint
from pangu_alpha.compiler.programs import compile_ranks
from pangu_alpha.config import load_config
from pangu_alpha.parallel.parameters import num_parameters

if TYPE_CHECKING:
    from tests.conftest import TinyProject

# Same programs as those of tests/emulator/test_step.py.
SETTINGS = (
    "model.vocab_size=471",
    "model.seq_length=16",
    "train.num_micro_batches=2",
    "train.validate_every=2",
    "train.checkpoint_every=2",
    "schedule.learning_rate=1e-2",
    "schedule.warmup_steps=1",
    "spikes.skip=true",
)
STAGES = (["--backend", "emulator", "--mesh", "mp=2,pp=2"], [])
REPLICAS = (["--backend", "emulator", "--mesh", "dp=2"], ["parallel.optimizer_sharding=true"])
ONE_PROCESS: tuple[list[str], list[str]] = ([], [])


def train(project: TinyProject, run: str, steps: int, backend: tuple[list[str], list[str]]) -> None:
    options, overrides = backend
    words = ["train", "recipe.yaml", *SETTINGS, *overrides, f"output={run}", f"train.steps={steps}", *options]
    done = project.pangu(*words)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def programs(tiny_project: TinyProject) -> None:
    """Compiled here, where it may take its time."""
    for mesh in (["parallel.mp=2", "parallel.pp=2"], ["parallel.dp=2", *REPLICAS[1]]):
        config = load_config(tiny_project.recipe, [*SETTINGS, *mesh])
        compile_ranks(config, range(config.parallel.num_devices))


@pytest.fixture(scope="module")
def one_process_run(tiny_project: TinyProject) -> str:
    train(tiny_project, "one_process", 8, ONE_PROCESS)
    return "one_process"


@pytest.fixture(scope="module")
def handed_on_run(tiny_project: TinyProject, programs: None) -> str:
    """Two steps each on four ranks, two replicas with a sharded optimizer, one process, and the four ranks again."""
    for number, backend in enumerate((STAGES, REPLICAS, ONE_PROCESS, STAGES)):
        train(tiny_project, "handed_on", 2 * number + 2, backend)
    return "handed_on"


def test_every_layout_goes_on_from_every_other(
    tiny_project: TinyProject, one_process_run: str, handed_on_run: str
) -> None:
    ours, theirs = tiny_project.losses(handed_on_run), tiny_project.losses(one_process_run)
    assert [step for step, _, _ in ours] == list(range(1, 9))
    assert [loss for _, loss, _ in ours] == pytest.approx([loss for _, loss, _ in theirs], rel=1e-5)
    assert [norm for _, _, norm in ours] == pytest.approx([norm for _, _, norm in theirs], rel=1e-4)


def test_records_and_checkpoints_have_the_form_of_one_process(
    tiny_project: TinyProject, one_process_run: str, handed_on_run: str
) -> None:
    ours, theirs = tiny_project.records(handed_on_run), tiny_project.records(one_process_run)
    assert [set(record) for record in ours] == [set(record) for record in theirs]
    assert all(0.0 < record["matmul_share"] < 1.0 for record in ours)
    found, expected = (
        open_checkpoint(tiny_project.folder / run / "checkpoints" / "step_00000008")
        for run in (handed_on_run, one_process_run)
    )
    found.require({name: cells.shape for name, cells in expected.index.tensors.items()})
    assert [name for name, _ in expected.index.files] == [
        "weights/rank_00000.safetensors", "optimizer/rank_00000.safetensors",
    ]  # fmt: skip
    assert len(found.index.files) == 2 * 4, "each rank has not written its own part"
    query = found.index.tensors["adam_m.layers.0.attention.query.weight"]
    assert (query.shape, query.cell) == ((32, 32), (32, 16))
    for checkpoint in (found, expected):
        assert sum(checkpoint.check_contents()) == 3 * 4 * num_parameters(
            load_config(tiny_project.recipe, SETTINGS).model
        )


def test_the_validation_is_that_of_the_emulated_weights(
    tiny_project: TinyProject, one_process_run: str, handed_on_run: str
) -> None:
    ours, theirs = (
        [json.loads(line)["validation_loss"] for line in (tiny_project.folder / run / "validation.jsonl").open()]
        for run in (handed_on_run, one_process_run)
    )
    assert len(ours) == 4
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_mpirun_computes_what_one_process_does(tiny_project: TinyProject, handed_on_run: str) -> None:
    mpirun = str(Path(sys.executable).with_name("mpirun"))
    words = ["train", "recipe.yaml", *SETTINGS, "output=mpi", "train.steps=2", *STAGES[0]]
    done = subprocess.run(
        [mpirun, "-n", "4", sys.executable, "-m", "pangu_alpha.cli.main", *words],
        cwd=tiny_project.folder, env=tiny_project.environment(), capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("checkpoint of step 2 in mpi/checkpoints") == 1
    assert tiny_project.losses("mpi") == tiny_project.losses(handed_on_run)[:2]
    status = tiny_project.pangu("status", "mpi").stdout
    assert "4 ranks on 1 host(s)" in status
    assert "all ranks have ended well" in status


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--mesh", "dp=2,tp=2"], "'tp=2' is not of the form dp=2, mp=2 or pp=2"),
        (["--backend", "mindspore", "--mesh", "mp=2"], "(--backend emulator)"),
        (["--backend", "emulator", "--mesh", "pp=4"], "num_layers(2)"),
        (["--backend", "emulator", "--mesh", "pp=2"], "num_micro_batches(1) < pp(2)"),
    ],
)
def test_a_mesh_that_cannot_be_is_explained(tiny_project: TinyProject, words: list[str], problem: str) -> None:
    done = tiny_project.pangu("train", "recipe.yaml", "output=refused", *words)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert problem in done.stderr
