"""`pangu rehearse`: real processes of real ranks in MindSpore's simulation, one recipe after another."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pangu_alpha.checkpoint import open_checkpoint
from pangu_alpha.config import load_config
from pangu_alpha.parallel.parts import owned_boxes
from pangu_alpha.parallel.start import starting_values

if TYPE_CHECKING:
    from tests.conftest import TinyProject

NETWORK = ("device=ascend", "model.num_layers=4", "model.seq_length=16", "spikes.skip=true", "tokenizer=null")
SKIPPED = "data.skip_samples=[[0, 3]]"
FIRST = (
    *NETWORK,
    "parallel.dp=2",
    "parallel.mp=2",
    "parallel.pp=2",
    "parallel.optimizer_sharding=true",
    "train.num_micro_batches=2",
)
INTERLEAVED = ("parallel.pp=2", "parallel.schedule=interleaved", "parallel.num_chunks=2", "train.num_micro_batches=2")
SECOND = (*NETWORK, *INTERLEAVED)


@pytest.fixture(scope="module")
def rehearsed(tiny_project: TinyProject) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Two of eight ranks with a pipeline and a sharded optimizer, then both of an interleaved pipeline."""
    words = ("recipe.yaml", *FIRST, SKIPPED, "--ranks", "0,7", "--then", "recipe.yaml", *SECOND, SKIPPED)
    folder = tiny_project.folder / "made for a" / "rehearsal #1, of two"
    return tiny_project.pangu("rehearse", *words, "--output", str(folder), timeout=550), folder


def test_both_lives_are_told(rehearsed: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, _ = rehearsed
    assert done.returncode == 0, done.stderr
    assert "life 1: recipe.yaml, dp(2) × mp(2) × pp(2) = 8 ranks" in done.stdout
    assert "6 rank(s) had no process" in done.stdout and "life 2: recipe.yaml, dp(1) × mp(1) × pp(2)" in done.stdout
    assert done.stdout.count("equal, to the bit, to") == 2
    assert "went on at sample 12, where recipe.yaml had ended" in done.stdout
    assert "a rehearsal cannot show: numbers" in done.stdout
    assert "going on after step 2" in done.stderr and "Traceback" not in done.stderr


def test_the_second_checkpoint_is_of_real_slices(
    rehearsed: tuple[subprocess.CompletedProcess[str], Path], tiny_project: TinyProject
) -> None:
    """What ranks 0 and 7 began with has come through two meshes; the rest is the zeros of ranks without a process."""
    _, folder = rehearsed
    config = load_config(tiny_project.recipe, list(FIRST))
    read = starting_values(config)
    found = open_checkpoint(folder / "run" / "checkpoints" / "step_00000004")
    for rank in (0, 7):
        for name, box in owned_boxes(config.model, config.parallel, rank).items():
            np.testing.assert_array_equal(found.read(name, box), read(name, box))
    absent = {name: box for name, box in owned_boxes(config.model, config.parallel, 1).items() if "weight" in name}
    assert absent and not any(found.read(name, box).any() for name, box in absent.items())


def test_every_rank_has_written_its_account(rehearsed: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, folder = rehearsed
    accounts = [json.loads(path.read_text()) for path in sorted((folder / "run" / "accounts").iterdir())]
    assert [account["rank"] for account in accounts] == [0, 1, 7]
    for account in accounts:
        assert account["compile_seconds"] > account["fill_seconds"] > 0 and account["host_bytes"] > 1 << 28
        assert account["num_steps"] == 2 and account["device_bytes"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("recipe.yaml",), "a rehearsal plays Ascend devices. Add device=ascend"),
        (("recipe.yaml", *FIRST, "--ranks", "0,8"), "rank 8 cannot be rehearsed"),
        (("recipe.yaml", *FIRST, "--ranks", "first"), "--ranks first is not of the form 0,2047"),
        (("recipe.yaml", *FIRST, "--steps", "0"), "--steps 0: at least 1 is needed"),
        (("recipe.yaml", *FIRST, "--rank-table", "nowhere.json"), "nowhere.json"),
        (("recipe.yaml", *FIRST, "--then", "recipe.yaml", *SECOND, "model.hidden_size=64"), "is of another network"),
        (("recipe.yaml", *FIRST, "--then", "recipe.yaml", *SECOND, "train.seed=2"), "of other training data"),
    ],
)
def test_wrong_input_starts_nothing(tiny_project: TinyProject, words: tuple[str, ...], said: str) -> None:
    done = tiny_project.pangu("rehearse", *words, "--output", "never")
    assert done.returncode == 2, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not (tiny_project.folder / "never").exists()


def test_it_goes_into_no_folder_that_has_something_in_it(tiny_project: TinyProject) -> None:
    done = tiny_project.pangu("rehearse", "recipe.yaml", *FIRST, "--output", "tokens")
    assert done.returncode == 2 and "tokens is not empty" in done.stderr
    assert not (tiny_project.folder / "tokens" / "run").exists()
