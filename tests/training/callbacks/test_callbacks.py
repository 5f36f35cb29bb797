"""The callbacks on a stand-in for the trainer: what they write, and what they do after a resume."""

from __future__ import annotations

import json
from typing import Any

import pytest
from PIL import Image
from tests.training.callbacks.conftest import metrics, run

from pangu_alpha.records import read_records
from pangu_alpha.training.callbacks import default_callbacks
from pangu_alpha.training.callbacks.checkpoint import SaveCheckpoints
from pangu_alpha.training.callbacks.metrics_file import WriteMetrics
from pangu_alpha.training.callbacks.plot import PlotLoss
from pangu_alpha.training.callbacks.progress import ShowProgress, describe
from pangu_alpha.training.callbacks.spikes import ReportSpikes
from pangu_alpha.training.callbacks.tensorboard import WriteTensorBoard
from pangu_alpha.training.callbacks.validation import Validate, read_validations
from pangu_alpha.training.metrics import StepMetrics
from pangu_alpha.training.spikes import Spike

HELD_OUT: Any = object()


def test_metrics_of_steps_done_again_are_dropped(trainer: Any) -> None:
    path = trainer.config.output / "metrics.jsonl"
    run(trainer, range(1, 7), WriteMetrics())
    with path.open("a") as file:
        file.write('{"step": 7, "lo')  # killed while writing
    trainer.progress.step = 4
    run(trainer, range(5, 9), WriteMetrics())
    assert [record["step"] for record in read_records(path)] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert read_records(path)[0]["tokens_per_second"] == 4096


def test_validation_runs_when_it_is_time_and_after_the_last_step(trainer: Any) -> None:
    trainer.config.train.steps = 6
    run(trainer, range(1, 7), Validate(HELD_OUT))
    assert [(record["step"], record["validation_loss"]) for record in read_validations(trainer.config.output)] == [
        (4, 2.5),
        (6, 2.5),
    ]


def test_other_ranks_validate_but_write_nothing(trainer: Any) -> None:
    trainer.is_main = False
    calls = []
    trainer.mean_loss = lambda data: calls.append(data) or 2.5
    run(trainer, range(1, 9), WriteMetrics(), Validate(HELD_OUT), WriteTensorBoard(), PlotLoss())
    assert calls == [HELD_OUT] * 2
    assert list(trainer.config.output.iterdir()) == []


def test_validating_and_saving_are_reported(trainer: Any) -> None:
    run(trainer, range(1, 5), Validate(HELD_OUT), SaveCheckpoints())
    assert trainer.phases == ["validating", "saving"]


def test_the_picture_shows_training_and_validation(trainer: Any) -> None:
    run(
        trainer,
        range(1, 9),
        WriteMetrics(),
        Validate(HELD_OUT),
        PlotLoss(),
        record=lambda step: metrics(step, 4.0 - step / 4),
    )
    with Image.open(trainer.config.output / "loss.png") as image:
        assert image.size[0] > 600
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 20)}
    assert {(0x7F, 0xA8, 0xD1), (0xC1, 0x44, 0x0E)} <= colours


def test_tensorboard_reads_the_events(trainer: Any) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer.config.train.steps = 9
    run(trainer, range(1, 10), Validate(HELD_OUT), WriteTensorBoard())
    events = EventAccumulator(str(trainer.config.output / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Tensors("train/loss")] == list(range(1, 10))
    assert [event.step for event in events.Tensors("validation/loss")] == [4, 8, 9]


def test_a_spike_is_reported_with_its_samples(trainer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(trainer, range(1, 3), ReportSpikes())
    trainer.last_spikes = [Spike("loss", 4.0, 3.01)]
    run(trainer, range(3, 4), ReportSpikes(), record=lambda step: metrics(step, 4.0, spike=True, skipped=True))
    (record,) = read_records(trainer.config.output / "spikes.jsonl")
    assert record == {
        "step": 3, "name": "loss", "value": 4.0, "mean": 3.01, "samples": [16, 23], "skipped": True
    }  # fmt: skip
    assert "loss 4.000 is a spike (mean 3.010); samples 16 to 23; the step was skipped" in capsys.readouterr().err


def test_progress_prints_every_few_steps(trainer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(trainer, range(1, 9), ShowProgress())
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    assert [line.split()[1] for line in lines] == ["1/8", "2/8", "4/8", "6/8", "8/8"]


def test_a_line_says_when_a_step_was_skipped() -> None:
    assert "SKIPPED" in describe(metrics(1, skipped=True, loss_scale=1024.0), 8)
    assert "loss scale" not in describe(metrics(1), 8)


def test_records_are_json_with_the_documented_keys(trainer: Any) -> None:
    run(trainer, range(1, 2), WriteMetrics())
    record = json.loads((trainer.config.output / "metrics.jsonl").read_text())
    assert set(record) == set(StepMetrics.__dataclass_fields__)
    run(trainer, range(2, 3), WriteMetrics(planned_seconds=1.5))
    assert read_records(trainer.config.output / "metrics.jsonl")[-1]["planned_seconds"] == 1.5


def test_a_picture_that_cannot_be_drawn_does_not_end_a_run(trainer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Records of another writer, half a record, and a folder in the picture's place."""
    output = trainer.config.output
    for name in ("metrics.jsonl", "validation.jsonl"):
        (output / name).write_text('{"step": 5}\n{"loss": 3.0}\n{"step": "6", "loss": "x", "lr": []}\n{"step": 7}\n')
    run(trainer, range(1, 5), PlotLoss())
    assert (output / "loss.png").stat().st_size > 1000
    (output / "loss.png").unlink()
    (output / "loss.png").mkdir()
    run(trainer, range(5, 9), PlotLoss())
    assert "loss.png was not drawn: " in capsys.readouterr().err


def test_the_checkpoint_is_there_before_the_picture() -> None:
    kinds = [type(callback) for callback in default_callbacks()]
    assert kinds.index(SaveCheckpoints) < kinds.index(WriteTensorBoard) < kinds.index(PlotLoss)
