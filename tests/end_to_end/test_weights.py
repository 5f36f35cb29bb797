"""Weights out, in again, and a training that starts from them, as a user does it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import TinyProject

from pangu_alpha.checkpoint import open_checkpoint
from pangu_alpha.parallel.parts import Box

FEW = ("fuse_operators=false", "train.steps=4", "train.log_every=1", "train.checkpoint_every=4", "model.dropout=0")


@pytest.fixture(scope="module")
def folder(tiny_project: TinyProject) -> Path:
    """Of the project, with a run of 4 steps, written for Hugging Face and imported again."""
    project = tiny_project
    trained = project.pangu("train", "recipe.yaml", *FEW, "output=weights_run", "model.gelu=erf")
    assert trained.returncode == 0, trained.stderr
    out = project.pangu("checkpoint", "convert", "weights_run", "for_hf", "--to", "huggingface-imone")
    assert out.returncode == 0, out.stderr
    assert out.stdout == "for_hf: weights in the form huggingface-imone, float32\n"
    back = project.pangu("checkpoint", "convert", "for_hf", "imported", "--tokenizer", "tokenizer")
    assert back.returncode == 0, back.stderr
    assert "1 layers and the query layer of 32, 2 heads" in back.stdout and "model.gelu=erf" in back.stdout
    return project.folder


def step_0(folder: Path) -> Path:
    return folder / "imported" / "checkpoints" / "step_00000000"


def test_they_are_the_same_and_have_no_moments(tiny_project: TinyProject, folder: Path) -> None:
    before = open_checkpoint(folder / "weights_run" / "checkpoints" / "step_00000004")
    after = open_checkpoint(step_0(folder))
    names = [name for name in before.index.tensors if not name.startswith("adam")]
    assert list(after.index.tensors) == names
    for name in names:
        box = Box.all_of(before.index.tensors[name].shape)
        assert np.array_equal(before.read(name, box), after.read(name, box)), name
    checked = tiny_project.pangu("checkpoint", "check", "imported")
    assert checked.returncode == 0 and "are what was written" in checked.stdout


def test_generate_and_evaluate_take_them(tiny_project: TinyProject, folder: Path) -> None:
    texts = []
    for run in ("weights_run", "imported"):
        words = ("--checkpoint", run, "--prompt", "话说天下", "--temperature", "0", "--max-new-tokens", "8")
        texts.append(tiny_project.pangu("generate", *words))
        assert texts[-1].returncode == 0, texts[-1].stderr
    assert texts[0].stdout == texts[1].stdout and len(texts[0].stdout) > 5
    scored = tiny_project.pangu("evaluate", "perplexity", "--checkpoint", "imported", "--input", "text.jsonl")
    assert scored.returncode == 0 and re.search(r"^loss +\d", scored.stdout, re.MULTILINE), scored.stderr


def test_a_training_starts_from_them(tiny_project: TinyProject, folder: Path) -> None:
    """Its first loss is that of the weights, its step 1, its moments 0; the same command goes on, and not anew."""
    words = ("train", "recipe.yaml", "model.gelu=erf", *FEW, "--weights", "imported", "output=tuned")
    first = tiny_project.pangu(*words)
    assert first.returncode == 0, first.stderr
    assert "starting with the weights of imported/checkpoints/step_00000000: step 0, moments of 0" in first.stderr
    tuned = tiny_project.records("tuned")
    drawn = tiny_project.records("weights_run")
    assert [record["step"] for record in tuned] == [1, 2, 3, 4]
    assert tuned[0]["first_sample"] == drawn[0]["first_sample"] == 0
    assert tuned[0]["learning_rate"] == drawn[0]["learning_rate"]
    assert tuned[0]["loss"] < drawn[0]["loss"] - 0.01  # the same samples, after four steps
    again = tiny_project.pangu(*[word.replace("train.steps=4", "train.steps=6") for word in words])
    assert again.returncode == 0, again.stderr
    assert "--weights imported is not read: this run has begun" in again.stderr
    assert [record["step"] for record in tiny_project.records("tuned")] == [1, 2, 3, 4, 5, 6]


def test_weights_alone_are_no_run_to_go_on_with(tiny_project: TinyProject, folder: Path) -> None:
    refused = tiny_project.pangu("train", "recipe.yaml", *FEW, "model.gelu=erf", "output=imported")
    assert refused.returncode == 2 and "Traceback" not in refused.stderr, refused.stderr
    assert re.search(r"holds weights alone, and no run to go on with: .* --weights imported/checkp", refused.stderr)


def test_a_form_that_does_not_say_which_gelu_it_is_for(tiny_project: TinyProject, folder: Path) -> None:
    out = tiny_project.pangu("checkpoint", "convert", "weights_run", "as_released", "--to", "released")
    assert out.returncode == 0
    assert "this network has model.gelu=erf, of which the form released says nothing" in out.stderr
    out = tiny_project.pangu("checkpoint", "convert", "weights_run", "for_megatron", "--to", "megatron")
    assert out.returncode == 0 and "model.gelu" not in out.stderr


def test_another_tokenizer_is_refused(tiny_project: TinyProject, folder: Path) -> None:
    index = json.loads((step_0(folder) / "index.json").read_text())
    assert index["state"]["imported"] == {"from": "for_hf", "form": "huggingface-imone"}
    refused = tiny_project.pangu(
        *("generate", "--checkpoint", "imported", "--prompt", "话", "--tokenizer", "other_tokenizer")
    )
    assert refused.returncode == 2 and "its ids would mean other text" in refused.stderr
    wrong = tiny_project.pangu("checkpoint", "convert", "for_hf", "other", "--tokenizer", "other_tokenizer")
    assert wrong.returncode == 2 and "it is another vocabulary" in wrong.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["for_hf", "x", "--from", "huggingface-sunzeyeah"], "is huggingface-imone, not huggingface-sunzeyeah"),
        (["recipe.yaml", "x"], "is no form of weights that is known here"),
        (["recipe.yaml", "x", "--from", "megatron"], "it is no pickle of tensors"),
        (["weights_run", "x", "--to", "released", "parallel.pp=2"], "parallel.pp says nothing in the form released"),
        (["weights_run", "x", "--to", "huggingface-imone", "parallel.mp=2"], "which has no setting of the layout"),
        (["weights_run", "x", "--to", "megatron", "parallel.mp=two"], "parallel.mp: Input should be a valid integer"),
        (["weights_run", "x", "--tokenizer", "tokenizer"], "--tokenizer is for importing to a checkpoint of ours"),
        (["for_hf", "x", "--strategy", "recipe.yaml"], "--strategy is for reading the form released"),
        (["for_hf", "x", "--type", "float16"], "--type is for writing a form of others"),
        (["for_hf", "x", "parallel.mp=2"], "any mesh reads a checkpoint of ours"),
        (["weights_run", "x", "--to", "megatron", "train.steps=2"], "is no setting of the layout"),
        (["weights_run", "for_hf", "--to", "huggingface-imone"], "is there already, and nothing is overwritten"),
        (["for_hf", "imported"], "is there already, and nothing is overwritten"),
        (["tokens", "x"], "is no form of weights that is known here"),
        (["weights_run", "x", "--to", "elsewhere"], "invalid choice: 'elsewhere'"),
    ],
)
def test_wrong_words(tiny_project: TinyProject, folder: Path, words: list[str], said: str) -> None:
    refused = tiny_project.pangu("checkpoint", "convert", *words)
    assert refused.returncode == 2 and said in refused.stderr and "Traceback" not in refused.stderr, refused.stderr
    assert not (folder / "x").exists()
