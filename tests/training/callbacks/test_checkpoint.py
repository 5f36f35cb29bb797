"""When a run is saved, by whom, and what is said of it."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.training.callbacks.conftest import metrics, run

from pangu_alpha.checkpoint import list_checkpoints, open_checkpoint
from pangu_alpha.config import ParallelConfig
from pangu_alpha.errors import CheckpointError, TrainingError
from pangu_alpha.parallel.parts import Box
from pangu_alpha.records import read_records
from pangu_alpha.training import shared_folder
from pangu_alpha.training.callbacks import Callback, checkpoint
from pangu_alpha.training.callbacks.checkpoint import SaveCheckpoints
from pangu_alpha.training.callbacks.validation import LOSS_NAME

NAME = "final_norm.gamma"


def steps(trainer: Any) -> list[int]:
    return [int(path.name[5:]) for path in list_checkpoints(trainer.config.output / "checkpoints")]


def saved(trainer: Any) -> Any:
    return open_checkpoint(list_checkpoints(trainer.config.output / "checkpoints")[-1])


def test_checkpoints_are_saved_in_time_and_pruned(trainer: Any) -> None:
    run(trainer, range(1, 8), SaveCheckpoints())
    assert steps(trainer) == [4, 7]  # nobody knows yet what the loss of 7 is
    trainer.config.train.keep_every = 4
    trainer.progress.step = 7
    run(trainer, range(8, 14), SaveCheckpoints())
    assert steps(trainer) == [4, 8, 12, 13]
    assert [record["step"] for record in read_records(trainer.config.output / "saves.jsonl")] == [4, 7, 8, 12, 13]


@pytest.mark.parametrize("in_background", [False, True])
def test_what_is_saved_is_what_was_there_at_that_step(trainer: Any, in_background: bool) -> None:
    trainer.config.train.background_saving = in_background
    callback = SaveCheckpoints()
    callback.on_start(trainer)
    for step in range(1, 5):
        trainer.progress.step = step
        trainer.weights[NAME][:] = step
        callback.on_step(trainer, metrics(step))
    trainer.weights[NAME][:] = 99  # the next step begins at once
    callback.close()
    found = saved(trainer)
    assert found.read(NAME, Box.all_of((8,))).tolist() == [4] * 8
    assert (found.health.loss, found.health.is_spike) == (3.0, False)


def test_the_training_goes_on_while_a_checkpoint_is_written(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, is_noted = threading.Event(), threading.Semaphore(0)
    save_part, running = checkpoint.save_part, checkpoint._Running

    def slow(*arguments: Any) -> None:
        # Not before the training has gone on: else a save may be shorter than the time that the training stood still.
        assert is_noted.acquire(timeout=200) and go_on.wait(200)
        save_part(*arguments)

    def note(*values: Any) -> Any:
        is_noted.release()
        return running(*values)

    monkeypatch.setattr(checkpoint, "save_part", slow)
    monkeypatch.setattr(checkpoint, "_Running", note)
    callback = SaveCheckpoints()
    callback.on_start(trainer)
    for step in range(1, 8):
        trainer.progress.step = step
        callback.on_step(trainer, metrics(step))
    assert steps(trainer) == []
    go_on.set()
    trainer.progress.step = 8
    callback.on_step(trainer, metrics(8))  # waits for the one before, and begins the next
    assert 4 in steps(trainer)
    trainer.measured = {LOSS_NAME: 3.0}
    trainer.progress.step = 9
    callback.on_step(trainer, metrics(9))
    callback.on_end(trainer)
    callback.close()
    assert steps(trainer) == [9]
    records = read_records(trainer.config.output / "saves.jsonl")
    assert [record["step"] for record in records] == [4, 8, 9]
    assert all(record["blocked_seconds"] < record["seconds"] for record in records)
    assert records[0]["num_bytes"] == saved(trainer).num_bytes
    assert records[0]["megabytes_per_second"] == pytest.approx(records[0]["num_bytes"] / records[0]["seconds"] / 1e6)


def test_one_whose_loss_is_not_known_does_not_count(trainer: Any) -> None:
    """The loss that it is saved with is that of the weights before: a run that diverges would keep it alone."""
    trainer.config.train.checkpoint_every = 1
    callback = SaveCheckpoints()
    callback.on_start(trainer)
    for step in range(1, 4):
        trainer.progress.step = step
        callback.on_step(trainer, metrics(step))
    callback._finish(trainer)
    assert steps(trainer) == [2, 3]
    callback.on_lost(trainer)
    callback.close()
    assert [open_checkpoint(path).is_healthy for path in list_checkpoints(trainer.config.output / "checkpoints")] == [
        True,
        False,
    ]


def test_validation_makes_it_known(trainer: Any) -> None:
    class Measure(Callback):
        def on_step(self, trainer: Any, metrics: Any) -> None:
            trainer.measured[LOSS_NAME] = 3.0

    run(trainer, range(1, 8), Measure(), SaveCheckpoints())
    assert steps(trainer) == [7]


def test_a_skipped_step_without_a_loss_does_not_make_it_known(trainer: Any) -> None:
    trainer.config.train.checkpoint_every = 1
    lost = {"skipped": True}
    run(
        trainer,
        range(1, 7),
        SaveCheckpoints(),
        record=lambda step: metrics(step, math.nan, **lost) if step > 4 else metrics(step),
    )
    assert steps(trainer) == [3, 4, 5, 6]


def test_an_error_of_the_writing_ends_the_run_at_its_next_step(trainer: Any) -> None:
    callback = SaveCheckpoints()
    callback.on_start(trainer)
    trainer.weights[NAME][0] = np.nan
    trainer.progress.step = 4
    callback.on_step(trainer, metrics(4))
    assert callback._running is not None
    callback._running.bytes.exception(timeout=200)
    trainer.progress.step = 5
    with pytest.raises(TrainingError, match=f"after step 4, {NAME} holds numbers that are not finite"):
        callback.on_step(trainer, metrics(5))
    callback.close()
    assert steps(trainer) == []


def test_minutes_count_too_and_all_ranks_save_together(trainer: Any) -> None:
    now = [0.0]
    trainer.config.train.checkpoint_minutes = 2.0
    trainer.config.train.checkpoint_every = 1000
    trainer.config.train.keep_checkpoints = 9
    callback = SaveCheckpoints(clock=lambda: now[0])
    callback.on_start(trainer)
    for step in range(1, 8):
        now[0] += 50
        trainer.progress.step = step
        callback.on_step(trainer, metrics(step))
    callback.close()
    assert steps(trainer) == [3, 6]
    trainer.is_main = False
    trainer.workers.largest = lambda number: 1  # the main rank's clock has come to its time
    other = SaveCheckpoints(clock=lambda: 0.0)
    assert other._is_time(trainer, 7)


def test_a_step_that_was_skipped_says_nothing_of_the_health(trainer: Any) -> None:
    run(trainer, range(1, 5), SaveCheckpoints(), record=lambda step: metrics(step, skipped=step == 4, grad_norm=step))
    assert saved(trainer).health.grad_norm == 3


def test_one_that_was_damaged_and_is_saved_again_counts(trainer: Any) -> None:
    """Otherwise the newest healthy one would go as soon as a spike is saved after it."""
    trainer.damaged.add(trainer.config.output / "checkpoints" / "step_00000004")
    run(trainer, range(1, 9), SaveCheckpoints(), record=lambda step: metrics(step, 9.0 if step > 4 else 3.0))
    assert steps(trainer) == [4, 8]
    assert trainer.damaged == set()


def test_a_run_that_ends_by_an_error_waits_little_for_dead_ranks_and_tells(
    trainer: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkpoint, "CLOSING_PATIENCE", 0.2)
    monkeypatch.setattr(checkpoint, "PATIENCE", math.inf)
    trainer.config.parallel = ParallelConfig(dp=2)  # the other one never writes
    callback = SaveCheckpoints()
    callback.on_start(trainer)
    trainer.progress.step = 4
    callback.on_step(trainer, metrics(4))
    callback.close()
    assert "step 4 was not saved: " in (said := capsys.readouterr().err)
    assert "1 of 2 ranks has not written its part: [1]" in said


def test_a_rank_that_fails_leaves_nothing_of_the_others_in_its_process(trainer: Any) -> None:
    trainer.config.parallel = ParallelConfig(dp=2)
    trainer.values = {0: trainer.values[0], 1: lambda boxes: (np.float32([np.nan]) for _ in boxes)}
    callback = SaveCheckpoints()
    callback.on_start(trainer)
    callback._boxes[1] = {NAME: Box((0,), (1,))}
    trainer.progress.step = 4
    callback.on_step(trainer, metrics(4))
    callback.close()
    assert list((trainer.config.output / "checkpoints").iterdir()) == []


def test_records_with_odd_steps_are_dropped(trainer: Any) -> None:
    (trainer.config.output / "saves.jsonl").write_text('{"step": null}\n{"step": "4"}\n{"step": 3}\n')
    trainer.progress.step = 3
    SaveCheckpoints().on_start(trainer)
    assert [record["step"] for record in read_records(trainer.config.output / "saves.jsonl")] == [3]


@pytest.fixture
def unshared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe that no other host sees."""
    monkeypatch.setattr(shared_folder, "PATIENCE", 0.1)
    monkeypatch.setattr(Path, "touch", lambda path: None)


@pytest.mark.usefixtures("unshared")
def test_parts_on_hosts_that_share_no_folder_are_refused_before_the_training(trainer: Any) -> None:
    for parallel in (ParallelConfig(dp=2, optimizer_sharding=True), ParallelConfig(mp=2), ParallelConfig(pp=2)):
        trainer.config.parallel = parallel
        with pytest.raises(CheckpointError, match=r"do not share .*checkpoints.*Set output to a folder that all hosts"):
            SaveCheckpoints().on_start(trainer)


@pytest.mark.usefixtures("unshared")
def test_replicas_on_hosts_that_share_no_folder_leave_the_saving_to_the_first(
    trainer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer.config.parallel = ParallelConfig(dp=2)
    run(trainer, range(1, 5), SaveCheckpoints())
    assert sum(saved(trainer).check_contents()) == 4 * sum(value.size for value in trainer.weights.values())
    assert "rank 0, which has everything, writes all of each checkpoint" in capsys.readouterr().err
