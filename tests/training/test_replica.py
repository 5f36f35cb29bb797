"""The step of one process: which rows it takes, and weights and moments that move to another."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from pangu_alpha.config import RunConfig
from pangu_alpha.data import Batch
from pangu_alpha.errors import LayoutError
from pangu_alpha.model import build_network
from pangu_alpha.parallel.parts import Box
from pangu_alpha.training import replica
from pangu_alpha.training.backend import reader
from pangu_alpha.training.replica import ProcessStep
from pangu_alpha.training.scalars import update_scalars
from pangu_alpha.training.workers import Rule, Workers

Config = Callable[..., RunConfig]
Sample = Callable[..., Batch]


def test_another_process_goes_on_with_the_tensors_of_the_first(make_config: Config, sample_batch: Sample) -> None:
    config = make_config()
    first, second = (ProcessStep(build_network(config.model, seed), config) for seed in (1, 2))
    batches = [sample_batch(seed=seed) for seed in range(3)]

    def run(step: ProcessStep, number: int) -> float:
        scalars = update_scalars(config.optimizer, 1e-2, number)
        return step(batches[number], int(batches[number].loss_mask.sum()), scalars, 1.0).loss

    for number in range(2):
        run(first, number)
    second.load(reader(first.tensors()))
    assert run(second, 2) == run(first, 2)
    tensors = first.tensors()
    assert all(np.array_equal(value, second.tensors()[name]) for name, value in tensors.items())
    assert any(np.any(value) for name, value in tensors.items() if name.startswith("adam_v."))


def test_ranks_share_the_rows_of_every_micro_batch(
    make_config: Config, sample_batch: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []

    class Recorder:
        def __init__(self, *_: object) -> None:
            self.optimizer = SimpleNamespace(first_moments=[], second_moments=[])

        def __call__(self, micro_batches: list[Batch], *_: object) -> None:
            seen.append([int(key) for part in micro_batches for key in part.sample_keys])

    monkeypatch.setattr(replica, "TrainStep", Recorder)
    config = make_config("train.num_micro_batches=2", "parallel.dp=2")
    network = build_network(config.model, seed=1)
    keys = sample_batch().sample_keys.tolist()
    for rank in range(2):
        ProcessStep(network, config, rank=rank)(sample_batch(), 1, update_scalars(config.optimizer, 1e-2, 0), 1.0)
    assert seen == [keys[0:2] + keys[4:6], keys[2:4] + keys[6:8]]


class WithAnother(Workers):
    """Two processes; the other one says of one tensor that it has another one."""

    def decide(self, text: str, rule: Rule) -> str:
        other = json.loads(text)
        other["layers.0.attention.query.weight"] = "another"
        return rule([text, json.dumps(other)])


def test_copies_that_have_drifted_apart_are_not_saved(make_config: Config) -> None:
    config = make_config("parallel.dp=2")
    step = ProcessStep(build_network(config.model, seed=1), config, WithAnother())
    with pytest.raises(LayoutError, match=r"layers.0.attention.query.weight is not the same on all processes"):
        step.require_equal_copies()
    ProcessStep(build_network(config.model, seed=1), config).require_equal_copies()


def test_a_process_writes_the_boxes_that_it_is_asked_for(make_config: Config) -> None:
    config = make_config()
    step = ProcessStep(build_network(config.model, seed=1), config)
    name = "layers.0.attention.query.weight"
    (part,) = step.values(0, {name: Box((2, 1), (3, 4))})
    np.testing.assert_array_equal(part, step.tensors([name])[name][2:5, 1:5])
