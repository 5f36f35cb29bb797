"""float16, the default type, on a CPU with every other default: training, going on, measuring, diverging."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from pangu_alpha.checkpoint import list_checkpoints, open_checkpoint, save_whole
from pangu_alpha.config import ScheduleConfig, load_config
from pangu_alpha.parallel.parts import Box
from pangu_alpha.training.learning_rate import learning_rate

if TYPE_CHECKING:
    from tests.conftest import TinyProject

FLOAT16 = "model.compute_dtype=float16"


def _strict(text: str) -> list[dict[str, Any]]:
    """The records of a file as a reader sees them that knows the standard only: no NaN and no Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


@pytest.fixture(scope="module")
def half_run(tiny_project: TinyProject) -> str:
    """Forty steps of float16 in two starts; the scale begins at 2³² and is looked for first."""
    for steps in (20, 40):
        done = tiny_project.pangu("train", "recipe.yaml", "output=half", FLOAT16, f"train.steps={steps}")
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr and "Error" not in done.stderr
    return "half"


def test_it_trains_validates_and_learns(tiny_project: TinyProject, half_run: str) -> None:
    records = tiny_project.records(half_run)
    assert len(records) == 40
    assert records[0]["skipped"] and records[0]["loss_scale"] == 2.0**32
    assert records[-1]["loss"] < records[0]["loss"] - 0.3
    (validation,) = _strict((tiny_project.folder / half_run / "validation.jsonl").read_text())[-1:]
    assert validation["step"] == 40 and validation["validation_loss"] < records[0]["loss"] - 0.3


def test_skipped_steps_do_not_use_up_the_warm_up(tiny_project: TinyProject, half_run: str) -> None:
    schedule: ScheduleConfig = load_config(tiny_project.recipe, []).schedule
    updates = [record for record in tiny_project.records(half_run) if not record["skipped"]]
    assert 0 < len(updates) < 40
    assert [record["learning_rate"] for record in updates] == [
        learning_rate(schedule, number) for number in range(len(updates))
    ]


def test_its_records_are_strict_json(tiny_project: TinyProject, half_run: str) -> None:
    records = _strict((tiny_project.folder / half_run / "metrics.jsonl").read_text())
    assert [record["grad_norm"] for record in records if record["skipped"]] == [None] * sum(
        record["skipped"] for record in records
    )


def test_a_checkpoint_of_ascend_is_measured_on_a_cpu(tiny_project: TinyProject, half_run: str) -> None:
    trained = open_checkpoint(list_checkpoints(tiny_project.folder / half_run / "checkpoints")[-1])
    state = {**trained.state, "config": {**trained.state["config"], "device": "ascend"}}
    tensors = {name: trained.read(name, Box.all_of(cells.shape)) for name, cells in trained.index.tensors.items()}
    save_whole(tiny_project.folder / "ascend", trained.step, tensors, state)
    done = tiny_project.pangu(
        *("evaluate", "perplexity", "--checkpoint", "ascend", "--device", "cpu", "--input", "text.jsonl")
    )
    assert done.returncode == 0, done.stderr
    (loss,) = re.findall(r"^loss +([\d.]+)$", done.stdout, re.MULTILINE)
    assert 0.0 < float(loss) < tiny_project.records(half_run)[0]["loss"]


def test_a_diverged_run_ends_and_keeps_what_was_good(tiny_project: TinyProject) -> None:
    words = ("train", "recipe.yaml", "output=diverged", FLOAT16, "train.checkpoint_every=2", "schedule.warmup_steps=1")
    done = tiny_project.pangu(*words, "schedule.learning_rate=1e6", "loss_scale.initial=256")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "The run has diverged" in done.stderr or "holds numbers that are not finite" in done.stderr
    _strict((tiny_project.folder / "diverged" / "metrics.jsonl").read_text())
    for file in (tiny_project.folder / "diverged" / "checkpoints").glob("*/*/*.safetensors"):
        assert all(np.isfinite(tensor).all() for tensor in load_file(file).values())


def test_the_emulator_validates_in_float16(tiny_project: TinyProject) -> None:
    done = tiny_project.pangu(
        *("train", "recipe.yaml", "output=emulated_half", FLOAT16, "device=ascend", "model.vocab_size=471"),
        *("model.seq_length=16", "train.steps=2", "--backend", "emulator"),
    )
    assert done.returncode == 0, done.stderr
    assert "step 2: validation loss" in done.stderr
