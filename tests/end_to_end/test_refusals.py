"""Wrong inputs: a sentence that says what is wrong, the right exit code, and no traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import TinyProject


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["train", "no_such_recipe"], ["no recipe 'no_such_recipe'", "tiny_cpu"]),
        (["train", "recipe.yaml", "train.step=3"], ["unknown key train.step", "did you mean 'steps'"]),
        (["train", "recipe.yaml", "data.train=[{path: nowhere}]"], ["nowhere"]),
        (["train", "recipe.yaml", "tokenizer=other_tokenizer"], ["tokens/train", "tokenizer"]),
        (["train", "recipe.yaml", "tokenizer=nowhere"], ["nowhere"]),
        (["train", "recipe.yaml", "device=ascend"], ["libmindspore_ascend.so.2", "CANN", "device=cpu"]),
        (["train", "recipe.yaml", "device=gpu"], ["libmindspore_gpu.so.11.6", "CUDA", "device=cpu"]),
        (["train", "recipe.yaml", "parallel.dp=2"], ["1 process", "pangu launch msrun --workers 2"]),
        (["generate", "--checkpoint", "nowhere", "--prompt", "却说"], ["no checkpoint at nowhere"]),
        (["evaluate", "perplexity", "--checkpoint", "nowhere", "--input", "text.jsonl"], ["no checkpoint at nowhere"]),
    ],
)
def test_wrong_input_is_explained(tiny_project: TinyProject, words: list[str], parts: list[str]) -> None:
    done = tiny_project.pangu(*words)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "pangu: " in done.stderr
    assert all(part in done.stderr for part in parts), done.stderr


def test_a_loss_that_is_not_finite_ends_the_run(tiny_project: TinyProject) -> None:
    done = tiny_project.pangu(
        "train", "recipe.yaml", "output=nan", "schedule.learning_rate=1e30", "schedule.end_learning_rate=0"
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "it goes on from the last checkpoint whose loss is finite" in done.stderr


def test_checkpoint_of_another_network_is_refused(tiny_project: TinyProject, reference_run: str) -> None:
    done = tiny_project.pangu("train", "recipe.yaml", f"output={reference_run}", "model.hidden_size=64")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "is of another network" in done.stderr
    assert len(tiny_project.losses(reference_run)) == 300, "the refused start changed the run"


def test_checkpoint_of_other_data_is_refused(tiny_project: TinyProject, reference_run: str) -> None:
    done = tiny_project.pangu("train", "recipe.yaml", f"output={reference_run}", "train.seed=2", "train.steps=301")
    assert done.returncode == 2, done.stderr
    assert "was trained on other data" in done.stderr
