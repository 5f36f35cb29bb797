"""The step of four ranks, two stages of two slices, against MindSpore's own step of one process."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pangu_alpha.checkpoint import open_checkpoint, save_whole
from pangu_alpha.config import RunConfig, build_config
from pangu_alpha.data import Batch
from pangu_alpha.data.batch import make_batch
from pangu_alpha.emulator.step import EmulatedStep, emulated_step
from pangu_alpha.errors import EmulatorError
from pangu_alpha.model import build_network
from pangu_alpha.parallel.parameters import parameter_name, row_of, tensor_names
from pangu_alpha.parallel.parts import held_parts, join
from pangu_alpha.runtime.device import set_device
from pangu_alpha.training.backend import Step, reader
from pangu_alpha.training.replica import ProcessStep
from pangu_alpha.training.result import StepResult
from pangu_alpha.training.scalars import Limits, update_scalars
from pangu_alpha.verification.reference import start

# The programs of tests/end_to_end/test_train_emulator.py.
RECIPE = {
    "device": "cpu",
    "model": {"num_layers": 2, "hidden_size": 32, "num_heads": 2, "vocab_size": 471, "seq_length": 16,
              "final_norm": "before_query_layer", "dropout": 0.1, "compute_dtype": "float32"},
    "train": {"steps": 8, "batch_size": 4, "num_micro_batches": 2},
    "schedule": {"learning_rate": 1e-2, "end_learning_rate": 1e-4, "warmup_steps": 1, "decay_steps": 300},
    "spikes": {"skip": True},
}  # fmt: skip
EOD, PAD = 0, 1


def recipe(*overrides: str) -> RunConfig:
    return build_config(RECIPE, overrides)


def batch(seed: int) -> Batch:
    """Several documents a row, and another amount of padding in each."""
    rng = np.random.default_rng(seed)
    windows = rng.integers(2, 471, (4, 17), dtype=np.int32)
    windows[:, 5] = EOD
    for row in range(4):
        windows[row, 17 - 2 * row :] = PAD
    return make_batch(windows, rng.integers(0, 2**31 - 1, 4, dtype=np.int32), eod_id=EOD, pad_id=PAD)


def whole(step: EmulatedStep | ProcessStep) -> dict[str, np.ndarray]:
    return {name: value.copy() for name, value in step.tensors().items()}


def train(step: Step, batches: list[Batch]) -> list[StepResult]:
    optimizer = recipe().optimizer
    return [
        step(item, int(item.loss_mask.sum()), update_scalars(optimizer, 1e-2, number), 1.0)
        for number, item in enumerate(batches)
    ]


@pytest.fixture(scope="module")
def compiled() -> EmulatedStep:
    set_device("cpu")
    return emulated_step(recipe("parallel.mp=2", "parallel.pp=2"))


@pytest.fixture
def one_process(compiled: EmulatedStep) -> ProcessStep:
    """The step of one process at its start."""
    return ProcessStep(build_network(recipe().model, seed=1), recipe())


@pytest.fixture
def emulated(compiled: EmulatedStep, one_process: ProcessStep) -> EmulatedStep:
    """The step of four ranks at the same start."""
    compiled.load(reader(whole(one_process)))
    return compiled


def test_tensors_are_whole_and_those_that_were_loaded(emulated: EmulatedStep, one_process: ProcessStep) -> None:
    tensors, expected = whole(emulated), whole(one_process)
    assert set(tensors) == set(expected)
    assert tensors["embedding.word.table"].shape == (471, 32)  # without the row that makes it divisible
    assert all(np.array_equal(tensors[name], value) for name, value in expected.items())


def test_steps_are_those_of_one_process(emulated: EmulatedStep, one_process: ProcessStep) -> None:
    start = whole(emulated)
    batches = [batch(seed) for seed in range(3)]
    ours, theirs = train(emulated, batches), train(one_process, batches)
    for own, other in zip(ours, theirs, strict=True):
        assert own.loss == pytest.approx(other.loss, rel=1e-5)
        assert own.grad_norm == pytest.approx(other.grad_norm, rel=1e-4)
        assert replace(own, loss=0.0, grad_norm=0.0) == replace(other, loss=0.0, grad_norm=0.0)
    tensors, expected = whole(emulated), whole(one_process)
    for name, value in expected.items():
        # The key bias has no gradient but rounding, which Adam makes as large as any other.
        if not name.endswith("key.bias"):
            moved = np.linalg.norm(value - start[name])
            assert np.linalg.norm(tensors[name] - value) <= 2e-3 * moved, name


def test_weights_and_moments_go_on_in_one_process(emulated: EmulatedStep, one_process: ProcessStep) -> None:
    train(emulated, [batch(0), batch(1)])
    one_process.load(reader(whole(emulated)))
    (ours,), (theirs,) = train(emulated, [batch(2)]), train(one_process, [batch(2)])
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-6)


@pytest.mark.parametrize("limits", [Limits(loss=1.0), Limits(grad_norm=1e-6)])
def test_a_spike_is_skipped_by_every_rank(emulated: EmulatedStep, limits: Limits) -> None:
    train(emulated, [batch(0)])
    before, item = whole(emulated), batch(1)
    scalars = update_scalars(recipe().optimizer, 1e-2, 1, limits)
    result = emulated(item, int(item.loss_mask.sum()), scalars, 1.0)
    assert (result.skipped, result.is_spike) == (True, True)
    assert all(np.array_equal(value, before[name]) for name, value in whole(emulated).items())
    train(emulated, [batch(1)])
    assert any(not np.array_equal(value, before[name]) for name, value in whole(emulated).items())


def test_only_padding_has_no_loss(emulated: EmulatedStep) -> None:
    values = {field.name: getattr(batch(0), field.name) for field in fields(Batch)}
    (result,) = train(emulated, [Batch(**{**values, "loss_mask": 0 * batch(0).loss_mask})])
    assert (result.loss, result.grad_norm) == (0.0, 0.0)


def test_gelu_with_the_error_function() -> None:
    """The network of weights for Hugging Face, cut over two ranks, with every weight large enough to show."""
    config, alone = recipe("parallel.mp=2", "model.gelu=erf"), recipe("model.gelu=erf")
    values = start(config.model, 1)
    emulated, one_process = emulated_step(config), ProcessStep(build_network(alone.model, 1), alone)
    for step in (emulated, one_process):
        step.load(reader(values))
    for own, other in zip(*(train(step, [batch(0), batch(1)]) for step in (emulated, one_process)), strict=True):
        assert own.loss == pytest.approx(other.loss, rel=3e-6)
        assert own.grad_norm == pytest.approx(other.grad_norm, rel=1e-5)


def test_ranks_that_disagree_are_reported(emulated: EmulatedStep, monkeypatch: pytest.MonkeyPatch) -> None:
    step = emulated.machine.step
    monkeypatch.setattr(emulated.machine, "step", lambda *inputs: {**step(*inputs), 3: (np.array([1.0, 2.0]),)})
    with pytest.raises(EmulatorError, match="ranks 0 and 3 do not agree"):
        train(emulated, [batch(0)])


@pytest.mark.parametrize("vocab_size", [9, 471])
def test_ranks_are_filled_from_a_checkpoint_of_whole_tensors(vocab_size: int, tmp_path: Path) -> None:
    """Also where the padding leaves a rank nothing of the word table: 9 words in 8 parts of 2."""
    config = recipe("parallel.mp=8", "model.num_heads=8", f"model.vocab_size={vocab_size}")
    rng = np.random.default_rng(4)
    shapes = {name: row_of(name).shape(config.model) for name in tensor_names(config.model)}
    tensors = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    checkpoint = open_checkpoint(save_whole(tmp_path, 1, tensors, {}))
    parts = {rank: held_parts(config.model, config.parallel, rank) for rank in range(8)}
    written: dict[str, dict[int, Any]] = defaultdict(dict)

    def write(rank: int, name: str, values: Any) -> None:
        written[name][rank] = (parts[rank][parameter_name(name)], values)

    machine: Any = SimpleNamespace(
        parts=lambda name: {rank: held[parameter_name(name)] for rank, held in parts.items()}, write=write
    )
    EmulatedStep(config, machine).load(checkpoint.read)
    for name, tensor in tensors.items():
        whole = join(name, written[name])
        padding = [(0, long - short) for long, short in zip(whole.shape, tensor.shape, strict=True)]
        np.testing.assert_array_equal(whole, np.pad(tensor, padding), err_msg=name)
