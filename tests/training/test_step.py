"""One step: micro-batches, token weights, overflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest

from pangu_alpha.config import RunConfig
from pangu_alpha.data import Batch
from pangu_alpha.model import PanguAlpha, build_network
from pangu_alpha.training.scalars import Limits, update_scalars
from pangu_alpha.training.step import StepResult, TrainStep

Config = Callable[..., RunConfig]
Sample = Callable[..., Batch]


def train(config: RunConfig, batches: list[Batch], loss_scale: float = 1.0) -> tuple[PanguAlpha, list[StepResult]]:
    network = build_network(config.model, seed=1)
    step = TrainStep(network, config)
    parts = config.train.num_micro_batches
    results = []
    for number, batch in enumerate(batches):
        rows = len(batch.input_ids) // parts
        micro_batches = [batch.rows(part * rows, (part + 1) * rows) for part in range(parts)]
        num_tokens = int(batch.loss_mask.sum())
        results.append(step(micro_batches, num_tokens, update_scalars(config.optimizer, 1e-2, number), loss_scale))
    return network, results


def weights(network: PanguAlpha) -> dict[str, np.ndarray]:
    return {item.name: item.asnumpy() for item in network.trainable_params()}


@pytest.mark.parametrize("dropout", ["0.0", "0.2"])
def test_accumulated_equals_full_batch(make_config: Config, sample_batch: Sample, dropout: str) -> None:
    batches = [sample_batch(seed=seed) for seed in range(3)]
    whole, parts = (
        train(make_config(f"train.num_micro_batches={count}", f"model.dropout={dropout}"), batches) for count in (1, 4)
    )
    for one, other in zip(whole[1], parts[1], strict=True):
        assert other.loss == pytest.approx(one.loss, rel=1e-6)
        assert other.grad_norm == pytest.approx(one.grad_norm, rel=1e-6)
        assert other.num_tokens == one.num_tokens
    start = weights(build_network(make_config().model, seed=1))
    for name, value in weights(parts[0]).items():
        moved = np.linalg.norm(value - start[name])
        # The key bias has no gradient but rounding, which Adam makes as large as any other.
        if not name.endswith("key.bias"):
            assert np.linalg.norm(value - weights(whole[0])[name]) <= 1e-4 * moved, name


def test_the_loss_is_a_mean_over_tokens_not_over_micro_batches(make_config: Config, sample_batch: Sample) -> None:
    batch = sample_batch()
    counts = batch.loss_mask.reshape(2, -1).sum(axis=1)
    assert counts[0] != counts[1]
    halves = [batch.rows(0, 4), batch.rows(4, 8)]
    losses = [train(make_config("train.batch_size=4"), [half])[1][0].loss for half in halves]
    together = train(make_config("train.num_micro_batches=2"), [batch])[1][0]
    assert together.loss == pytest.approx(np.average(losses, weights=counts), rel=1e-6)
    assert together.loss != pytest.approx(np.mean(losses), rel=1e-6)
    assert together.num_tokens == counts.sum()


def test_losses_fall(make_config: Config, sample_batch: Sample) -> None:
    _, results = train(make_config(), [sample_batch()] * 30)
    assert results[-1].loss < 0.6 * results[0].loss


def test_only_padding_changes_no_weight_by_its_loss(make_config: Config, sample_batch: Sample) -> None:
    batch = sample_batch()
    empty = Batch(**{**{f.name: getattr(batch, f.name) for f in fields(Batch)}, "loss_mask": batch.loss_mask * 0})
    network, (result,) = train(make_config("optimizer.weight_decay=0.0"), [empty])
    assert (result.loss, result.grad_norm) == (0.0, 0.0)
    start = weights(build_network(make_config().model, seed=1))
    assert all(np.array_equal(value, start[name]) for name, value in weights(network).items())


class TestFloat16:
    def test_an_overflow_skips_the_step(self, make_config: Config, sample_batch: Sample) -> None:
        config = make_config("model.compute_dtype=float16")
        network, (result,) = train(config, [sample_batch()], loss_scale=2.0**40)
        assert result.skipped
        assert np.isfinite(result.loss)
        start = weights(build_network(config.model, seed=1))
        assert all(np.array_equal(value, start[name]) for name, value in weights(network).items())

    def test_the_scale_changes_nothing_but_rounding(self, make_config: Config, sample_batch: Sample) -> None:
        half, single = make_config("model.compute_dtype=float16"), make_config()
        (scaled,), (exact,) = (
            train(config, [sample_batch()], scale)[1] for config, scale in ((half, 1024.0), (single, 1.0))
        )
        assert not scaled.skipped
        assert scaled.loss == pytest.approx(exact.loss, rel=2e-3)
        assert scaled.grad_norm == pytest.approx(exact.grad_norm, rel=1e-2)

    def test_an_overflow_in_one_micro_batch_does_not_poison_the_next_step(
        self, make_config: Config, sample_batch: Sample
    ) -> None:
        config = make_config("model.compute_dtype=float16", "train.num_micro_batches=2")
        network = build_network(config.model, seed=1)
        step = TrainStep(network, config)
        batch = sample_batch()
        halves = [batch.rows(0, 4), batch.rows(4, 8)]
        scalars = update_scalars(config.optimizer, 1e-2, 0)
        assert step(halves, 1, scalars, 2.0**40).skipped
        assert not step(halves, 1, scalars, 256.0).skipped


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("limits", [Limits(loss=1.0), Limits(grad_norm=1e-6)])
def test_a_step_above_a_limit_changes_nothing(
    make_config: Config, sample_batch: Sample, parts: int, limits: Limits
) -> None:
    config = make_config("spikes.skip=true", f"train.num_micro_batches={parts}")
    network = build_network(config.model, seed=1)
    step = TrainStep(network, config)
    moments = [*step.optimizer.first_moments, *step.optimizer.second_moments]
    rows = 8 // parts
    batches = [sample_batch().rows(part * rows, (part + 1) * rows) for part in range(parts)]
    num_tokens = int(sample_batch().loss_mask.sum())
    assert not step(batches, num_tokens, update_scalars(config.optimizer, 1e-2, 0), 1.0).skipped
    before = {item.name: item.asnumpy().copy() for item in (*network.trainable_params(), *moments)}
    result = step(batches, num_tokens, update_scalars(config.optimizer, 1e-2, 1, limits), 1.0)
    assert (result.skipped, result.is_spike) == (True, True)
    assert all(np.array_equal(item.asnumpy(), before[item.name]) for item in (*network.trainable_params(), *moments))
    assert not step(batches, num_tokens, update_scalars(config.optimizer, 1e-2, 1), 1.0).skipped
    assert any(not np.array_equal(value, before[name]) for name, value in weights(network).items())
