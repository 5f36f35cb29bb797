"""The loop with a backend that is told what its steps report."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pangu_alpha.checkpoint import Health, list_checkpoints, mark_lost, open_checkpoint
from pangu_alpha.checkpoint.index import write_index
from pangu_alpha.checkpoint.store import read_index
from pangu_alpha.config import RunConfig
from pangu_alpha.data import Batch
from pangu_alpha.errors import CheckpointError, TrainingError
from pangu_alpha.parallel.parameters import row_of, tensor_names
from pangu_alpha.parallel.parts import Box
from pangu_alpha.records import read_records
from pangu_alpha.training import trainer as trainer_module
from pangu_alpha.training.backend import Backend, Read
from pangu_alpha.training.callbacks import Callback, default_callbacks
from pangu_alpha.training.metrics import StepMetrics
from pangu_alpha.training.result import StepResult, step_result
from pangu_alpha.training.scalars import UpdateScalars
from pangu_alpha.training.trainer import Trainer
from pangu_alpha.training.workers import Alone


class Told:
    """A step that reports what `losses` says, and skips where that is None."""

    def __init__(self, losses: Callable[[int], float | None], config: RunConfig) -> None:
        self.config, self.losses, self.number = config, losses, 0
        self.rates: list[float] = []
        self.tensors = {
            name: np.zeros(row_of(name).shape(config.model), np.float32) for name in tensor_names(config.model)
        }

    @property
    def weight(self) -> Any:
        return self.tensors["final_norm.beta"]

    def __call__(self, batch: Batch, num_tokens: int, scalars: UpdateScalars, loss_scale: float) -> StepResult:
        loss = self.losses(self.number)
        self.number += 1
        self.rates.append(scalars.learning_rate)
        if loss is None:
            return StepResult(3.0, math.inf, num_tokens, skipped=True)
        result = step_result(self.config, loss, 1.0, num_tokens, scalars.limits)
        if not result.skipped:
            self.tensors = {name: values + 1.0 for name, values in self.tensors.items()}
        return result

    ranks = (0,)

    def values(self, rank: int, boxes: Mapping[str, Box]) -> Iterator[Any]:
        return (self.tensors[name] for name in boxes)

    def require_equal_copies(self) -> None:
        pass

    def load(self, read: Read) -> None:
        self.tensors = {name: read(name, Box.all_of(values.shape)) for name, values in self.tensors.items()}


class Samples:
    """Training data of which only the order counts."""

    fingerprint = "data"
    tokenizer_fingerprint = "tokens"

    def __init__(self, sample_batch: Callable[..., Batch]) -> None:
        self.make, self.seen = sample_batch, list[list[int]]()

    def samples(self, numbers: Any) -> Batch:
        self.seen.append(list(map(int, numbers)))
        return self.make(rows=len(numbers))


@pytest.fixture
def make_trainer(
    make_config: Callable[..., RunConfig], sample_batch: Callable[..., Batch], tmp_path: Path
) -> Callable[..., Trainer]:
    def make(
        losses: Callable[[int], float | None], *overrides: str, callbacks: Any = None, mean_loss: Any = None
    ) -> Trainer:
        config = make_config(f"output={tmp_path}", "train.checkpoint_every=2", "train.steps=6", *overrides)
        backend = Backend(Told(losses, config), Alone(), True, mean_loss, 1e9)
        data: Any = Samples(sample_batch)
        return Trainer(config, data, backend, default_callbacks(mean_loss and data) if callbacks is None else callbacks)

    return make


def _step(trainer: Trainer) -> Told:
    step = trainer._backend.step
    assert isinstance(step, Told)
    return step


def test_every_step_gets_the_next_samples_and_its_rate(make_trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    trainer = make_trainer(lambda number: 3.0 - number / 10)
    trainer.run()
    data: Any = trainer.training_data
    assert data.seen == [list(range(8 * step, 8 * step + 8)) for step in range(6)]
    assert dataclasses.asdict(trainer.progress) == {"step": 6, "num_updates": 6, "consumed_samples": 48}
    assert _step(trainer).rates[:3] == pytest.approx([0.005, 0.01, 0.01])  # two steps of warm-up
    assert [record["step"] for record in read_records(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


def test_callbacks_are_called_in_order_around_the_loop(make_trainer: Callable[..., Trainer]) -> None:
    calls: list[str] = []

    class Noted(Callback):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_start(self, trainer: Trainer) -> None:
            calls.append(f"{self.name} start {trainer.progress.step}")

        def on_step(self, trainer: Trainer, metrics: StepMetrics) -> None:
            calls.append(f"{self.name} {metrics.step}")

        def on_end(self, trainer: Trainer) -> None:
            calls.append(f"{self.name} end")

    make_trainer(lambda number: 3.0, "train.steps=2", callbacks=[Noted("a"), Noted("b")]).run()
    assert calls == ["a start 0", "b start 0", "a 1", "b 1", "a 2", "b 2", "a end", "b end"]


def test_a_run_goes_on_where_it_was_saved(make_trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    make_trainer(lambda number: 3.0, "train.steps=4").run()
    trainer = make_trainer(lambda number: 2.0, "train.steps=6")
    trainer.resume()
    trainer.run()
    data: Any = trainer.training_data
    assert data.seen[0] == list(range(32, 40))
    assert np.unique(_step(trainer).weight).tolist() == [6.0]


def test_samples_that_are_named_are_left_out_from_there_on(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    """After a spike at step 4 the run goes on from step 2 without the samples of that step."""
    make_trainer(lambda number: 3.0, "train.steps=2").run()
    trainer = make_trainer(lambda number: 3.0, "train.steps=5", "data.skip_samples=[[24, 31]]")
    trainer.resume()
    trainer.run()
    data: Any = trainer.training_data
    assert data.seen == [list(range(16, 24)), list(range(32, 40)), list(range(40, 48))]
    assert [record["first_sample"] for record in read_records(tmp_path / "metrics.jsonl")] == [0, 8, 16, 32, 40]


def test_a_run_passes_over_checkpoints_of_a_spike_and_keeps_what_it_makes_instead(
    make_trainer: Callable[..., Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_trainer(lambda number: 3.0).run()  # to step 6; 2, 4 and 6 stay
    root = tmp_path / "checkpoints"
    for path in list_checkpoints(root)[2:]:
        index = read_index(path)
        write_index(path, dataclasses.replace(index, health=Health(9.0, 99.0, is_spike=True)))
    trainer = make_trainer(
        lambda number: 2.0, "train.steps=5", "train.keep_checkpoints=1", "train.checkpoint_every=100"
    )
    trainer.resume()
    assert trainer.progress.step == 4
    assert "passing over" in capsys.readouterr().err
    trainer.run()
    assert [path.name for path in list_checkpoints(root)] == ["step_00000004", "step_00000005", "step_00000006"]


def test_ranks_that_would_go_on_from_different_places_are_refused(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    """A host that does not see the newest one, or shares no folder: what it says is not what the others say."""
    make_trainer(lambda number: 3.0).run()
    trainer = make_trainer(lambda number: 3.0)
    said: list[str] = []

    def is_equal(text: str) -> bool:
        said.append(text)
        return False

    trainer.workers.is_equal = is_equal  # type: ignore[method-assign]
    with pytest.raises(CheckpointError, match=r"not see the same checkpoints in .*: this one would go on from step 6"):
        trainer.resume()
    for path in list_checkpoints(tmp_path / "checkpoints"):
        shutil.rmtree(path)
    with pytest.raises(CheckpointError, match="this one would go on from none"):
        trainer.resume()
    assert said[0].startswith("step 6 ") and len(said[0]) > 60 and said[1] == "none "


def test_a_checkpoint_whose_process_died_before_it_got_its_name_is_used(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    make_trainer(lambda number: 3.0).run()
    root = tmp_path / "checkpoints"
    (root / "step_00000006").rename(root / ".step_00000006.dead.part")
    trainer = make_trainer(lambda number: 3.0)
    trainer.resume()
    assert trainer.progress.step == 6


def test_other_data_is_refused(make_trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    make_trainer(lambda number: 3.0).run()
    trainer = make_trainer(lambda number: 3.0)
    trainer.training_data.fingerprint = "other"  # type: ignore[misc]
    with pytest.raises(CheckpointError, match="was trained on other data"):
        trainer.resume()


FLOAT16 = "model.compute_dtype=float16"


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_its_good_checkpoints(
    make_trainer: Callable[..., Trainer], tmp_path: Path, dtype: str, loss: float
) -> None:
    trainer = make_trainer(lambda number: loss if number == 4 else 3.0, f"model.compute_dtype={dtype}")
    with pytest.raises(TrainingError, match=r"step 5: loss (nan|inf).*The run has diverged.*lower schedule"):
        trainer.run()
    last = list_checkpoints(tmp_path / "checkpoints")[-1]
    assert last.name == "step_00000004" and not open_checkpoint(last).is_healthy


def test_the_next_start_goes_on_before_the_weights_that_have_no_loss(
    make_trainer: Callable[..., Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("train.checkpoint_every=1", "train.keep_checkpoints=1")
    lost = make_trainer(lambda number: math.nan if number == 4 else 3.0, *settings)
    with pytest.raises(TrainingError, match="goes on from the last checkpoint whose loss is finite"):
        lost.run()
    trainer = make_trainer(lambda number: 3.0, *settings)
    trainer.resume()
    assert trainer.progress.step == 3
    assert "step_00000004: the loss of its weights is not finite" in capsys.readouterr().err
    trainer.run()
    assert [path.name for path in list_checkpoints(tmp_path / "checkpoints")] == ["step_00000005", "step_00000006"]
    for path in list_checkpoints(tmp_path / "checkpoints"):
        mark_lost(path)
    with pytest.raises(CheckpointError, match="are damaged, or have weights whose loss is not finite"):
        make_trainer(lambda number: 3.0).resume()


def test_a_validation_loss_that_is_not_finite_ends_the_run(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    losses = iter([3.0, math.nan])
    trainer = make_trainer(lambda number: 3.0, "train.validate_every=2", mean_loss=lambda data: next(losses))
    with pytest.raises(TrainingError, match=r"step 4: the validation loss is nan"):
        trainer.run()
    assert [path.name for path in list_checkpoints(tmp_path / "checkpoints")] == ["step_00000002"]


def test_skipping_for_ever_at_the_smallest_scale_ends_the_run(make_trainer: Callable[..., Trainer]) -> None:
    overrides = [FLOAT16, "train.steps=100", "loss_scale.initial=4", "loss_scale.max_overflows=5"]
    trainer = make_trainer(lambda number: None if number >= 3 else 3.0, *overrides)
    # After three good steps two overflows bring the scale to 1, and five more end it.
    with pytest.raises(TrainingError, match=r"step 10: the gradients of the last 5 steps overflowed"):
        trainer.run()


def test_overflows_that_find_the_scale_do_not_end_it_and_do_not_use_up_the_warm_up(
    make_trainer: Callable[..., Trainer],
) -> None:
    trainer = make_trainer(lambda number: None if number < 4 else 3.0, FLOAT16, "loss_scale.max_overflows=2")
    trainer.run()
    assert _step(trainer).rates == pytest.approx([0.005] * 5 + [0.01])
    assert trainer.progress.num_updates == 2


def test_a_state_that_is_not_finite_is_not_saved(make_trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    trainer = make_trainer(lambda number: 3.0)
    step = _step(trainer)
    values = step.values
    step.values = lambda rank, boxes: (  # type: ignore[method-assign]
        value * math.nan if step.number >= 4 and name == "final_norm.beta" else value
        for name, value in zip(boxes, values(rank, boxes), strict=True)
    )
    with pytest.raises(TrainingError, match=r"after step 4, final_norm\.beta holds numbers that are not finite"):
        trainer.run()
    assert [path.name for path in list_checkpoints(tmp_path / "checkpoints")] == ["step_00000002"]


def test_metrics_of_a_run_with_overflows_are_strict_json(make_trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    make_trainer(lambda number: None if number == 1 else 3.0, FLOAT16).run()
    records = read_records(tmp_path / "metrics.jsonl")
    assert records[1]["grad_norm"] is None and records[1]["skipped"] is True
    assert "Infinity" not in (tmp_path / "metrics.jsonl").read_text()


SPIKES = ("spikes.skip=true", "spikes.window=3", "spikes.max_skips=2", "train.steps=8")


def test_planted_bad_batches_are_skipped_and_written_down(make_trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    """Those of steps 4 and 6, of which the second one's loss is not even a number."""
    losses = [3.0, 3.1, 3.0, 9.0, 3.05, math.nan, 3.0, 3.0]
    trainer = make_trainer(lambda number: losses[number], *SPIKES)
    trainer.run()
    assert trainer.progress.step == 8 and trainer.progress.num_updates == 6
    assert float(_step(trainer).weight[0]) == 6.0
    records = read_records(tmp_path / "metrics.jsonl")
    assert [record["step"] for record in records if record["spike"]] == [4, 6]
    assert [record["step"] for record in records if record["skipped"]] == [4, 6]
    spikes = read_records(tmp_path / "spikes.jsonl")
    assert [(record["step"], record["skipped"]) for record in spikes] == [(4, True), (6, True)]


def test_a_resumed_run_skips_what_an_undisturbed_one_skips(make_trainer: Callable[..., Trainer]) -> None:
    """The window is in the checkpoint: without it the spike at step 5 would come before the window is full."""
    losses = [3.0, 3.1, 3.0, 3.05, 9.0, 3.0, 3.1, 3.0]
    make_trainer(lambda number: losses[number], *SPIKES, "train.steps=4").run()
    again = make_trainer(lambda number: losses[4 + number], *SPIKES)
    again.resume()
    again.run()
    assert again.progress.num_updates == 7


def test_a_run_that_has_left_its_course_ends(make_trainer: Callable[..., Trainer]) -> None:
    losses = [3.0, 3.1, 3.0, 9.0, 9.1, 9.2, 9.3, 9.4]
    with pytest.raises(TrainingError, match=r"step 5: 2 steps in a row were skipped as spikes.*data.skip_samples"):
        make_trainer(lambda number: losses[number], *SPIKES).run()


def test_signals_in_the_same_moment_are_one(
    make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launcher that is killed signals its ranks once for each of its threads."""

    class Stopped(Callback):
        def on_step(self, trainer: Trainer, metrics: StepMetrics) -> None:
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGTERM)

    trainer = make_trainer(lambda number: 3.0, callbacks=[Stopped()])
    trainer.run()
    assert (trainer.stop_signal, trainer.progress.step) == (signal.SIGTERM, 1)
    monkeypatch.setattr(trainer_module, "_ONE_SIGNAL", 0.0)
    with pytest.raises(KeyboardInterrupt):
        make_trainer(lambda number: 3.0, callbacks=[Stopped()]).run()


def test_a_step_that_fails_after_a_signal_is_the_end_that_was_wanted(
    make_trainer: Callable[..., Trainer], capsys: pytest.CaptureFixture[str]
) -> None:
    """The signal of a whole process group ends MindSpore's compilers of kernels too."""

    def loss(number: int, is_asked: bool) -> float:
        if number == 1:
            if is_asked:
                os.kill(os.getpid(), signal.SIGTERM)
            raise RuntimeError("Response is empty\n\n- C++ Call Stack")
        return 3.0

    with pytest.raises(SystemExit) as end:
        make_trainer(lambda number: loss(number, is_asked=True)).run()
    assert end.value.code == 143
    said = capsys.readouterr().err
    assert "step 2 cannot be finished any more (Response is empty). The same command goes on" in said
    with pytest.raises(RuntimeError, match="Response is empty"):
        make_trainer(lambda number: loss(number, is_asked=False)).run()
