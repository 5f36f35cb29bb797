"""The whole network against the float64 reference: logits, loss, gradients, and what may not influence what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pytest
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops
from numpy.typing import NDArray

from pangu_alpha.config import ModelConfig
from pangu_alpha.data.batch import Batch
from pangu_alpha.model import PanguAlpha, PanguAlphaLoss, build_network
from pangu_alpha.parallel.parameters import num_parameters

Ids = NDArray[np.int32]


class LossAndGradients(nn.Cell):
    """The loss sum and its gradient for every parameter."""

    def __init__(self, network: PanguAlpha) -> None:
        super().__init__(auto_prefix=False)
        self.loss = PanguAlphaLoss(network)
        self.parameters = ParameterTuple(network.trainable_params())
        self.gradient = ops.GradOperation(get_by_list=True)

    def construct(self, *batch: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self.loss(*batch), self.gradient(self.loss, self.parameters)(*batch)


@dataclass
class Compiled:
    """A network, its weights in float64, and functions of host arrays."""

    config: ModelConfig
    network: PanguAlpha
    weights: dict[str, NDArray[np.float64]]
    loss_and_gradients: LossAndGradients

    def logits(self, batch: Batch) -> NDArray[np.floating]:
        """[B, S, V]."""
        arrays = (batch.input_ids, batch.position_ids, batch.document_ids, batch.sample_keys)
        logits = self.network(*(Tensor(array) for array in arrays)).asnumpy()
        return logits.reshape(*batch.input_ids.shape, -1)

    def gradients(self, batch: Batch) -> tuple[float, dict[str, NDArray[np.float32]]]:
        """The loss sum, and the gradients by parameter name."""
        inputs = (
            batch.input_ids,
            batch.position_ids,
            batch.document_ids,
            batch.labels,
            batch.loss_mask,
            batch.sample_keys,
        )
        loss, gradients = self.loss_and_gradients(*(Tensor(array) for array in inputs))
        return float(loss.asnumpy()), {
            item.name: gradient.asnumpy()
            for item, gradient in zip(self.network.trainable_params(), gradients, strict=True)
        }


Compile = Callable[..., Compiled]


@pytest.fixture(scope="module")
def compiled_network(make_config: Callable[..., ModelConfig], set_large_weights: Callable[..., dict]) -> Compile:
    """Networks by settings, each made once: a compilation takes seconds."""
    made: dict[tuple, Compiled] = {}

    def compiled(final_norm: str, compute_dtype: str = "float32") -> Compiled:
        if (final_norm, compute_dtype) not in made:
            config = make_config(final_norm=final_norm, compute_dtype=compute_dtype)
            network = build_network(config, seed=1)
            network.set_train(False)
            made[final_norm, compute_dtype] = Compiled(
                config, network, set_large_weights(network), LossAndGradients(network)
            )
        return made[final_norm, compute_dtype]

    return compiled


@pytest.fixture(params=["before_query_layer", "after_query_layer"])
def compiled(request: pytest.FixtureRequest, compiled_network: Compile) -> Compiled:
    return compiled_network(request.param)


@pytest.fixture
def batch(windows: Ids, to_batch: Callable[[Ids], Batch]) -> Batch:
    return to_batch(windows)


class TestAgainstTheReference:
    def test_logits(self, compiled: Compiled, batch: Batch, reference: ModuleType, special_ids: dict[str, int]) -> None:
        expected = np.stack(
            [
                reference.sample_logits(compiled.weights, compiled.config, row, special_ids["eod_id"])
                for row in batch.input_ids
            ]
        )
        assert expected.std() > 0.5, "logits this flat would hide mistakes"
        np.testing.assert_allclose(compiled.logits(batch), expected, rtol=1e-5, atol=1e-5 * expected.std())

    def test_loss(
        self, compiled: Compiled, batch: Batch, windows: Ids, reference: ModuleType, special_ids: dict
    ) -> None:
        expected = reference.loss_sum(compiled.weights, compiled.config, windows, **special_ids)
        assert compiled.gradients(batch)[0] == pytest.approx(expected, rel=1e-6)

    def test_gradient_of_every_parameter(
        self, compiled: Compiled, batch: Batch, windows: Ids, reference: ModuleType, special_ids: dict[str, int]
    ) -> None:
        """Three elements of each, among them the largest, against central differences of the reference."""
        generator = np.random.default_rng(7)
        _, gradients = compiled.gradients(batch)
        assert sorted(gradients) == sorted(compiled.weights)
        weights = {name: values.copy() for name, values in compiled.weights.items()}
        for name, gradient in gradients.items():
            flat = weights[name].reshape(-1)
            for index in {int(np.abs(gradient).argmax()), *generator.integers(0, flat.size, 2).tolist()}:
                value, losses = flat[index], []
                for step in (1e-5, -1e-5):
                    flat[index] = value + step
                    losses.append(reference.loss_sum(weights, compiled.config, windows, **special_ids))
                flat[index] = value
                expected = (losses[0] - losses[1]) / 2e-5
                # 1e-4 of a gradient of about 1: float32's rounding in a sum over 31 tokens.
                assert gradient.reshape(-1)[index] == pytest.approx(expected, rel=1e-4, abs=1e-4), (name, index)
            # A bias of the keys shifts all scores of a query alike, which the softmax does not see.
            assert (np.abs(gradient).max() > 1e-2) != name.endswith("key.bias"), f"{name} has no gradient to compare"


class TestIsolation:
    @pytest.mark.parametrize(("number", "replacement"), [(0, "曰曰曰"), (1, "君子乎遠"), (2, "來來")])
    def test_a_document_does_not_change_the_others(
        self,
        compiled: Compiled,
        make_window: Callable[[list[str]], Ids],
        to_batch: Callable[[Ids], Batch],
        number: int,
        replacement: str,
    ) -> None:
        documents = ["子曰學", "時習之不", "有朋"]
        before = to_batch(make_window(documents)[None])
        documents[number] = replacement
        after = to_batch(make_window(documents)[None])
        ours = before.document_ids == number
        changed = compiled.logits(before) != compiled.logits(after)
        assert not changed[~ours].any()
        assert changed[ours].any(-1).sum() >= 2

    def test_a_document_has_the_logits_it_has_at_the_start(
        self, compiled: Compiled, make_window: Callable[[list[str]], Ids], to_batch: Callable[[Ids], Batch]
    ) -> None:
        """Position, mask and query embedding all count from the document's first token."""
        second = compiled.logits(to_batch(make_window(["子曰學而", "時習之不亦"])[None]))[0, 5:11]
        alone = compiled.logits(to_batch(make_window(["時習之不亦"])[None]))[0, :6]
        np.testing.assert_allclose(second, alone, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("place", [0, 5, 11])
    def test_no_token_sees_a_later_one(
        self, compiled: Compiled, make_window: Callable[[list[str]], Ids], to_batch: Callable[[Ids], Batch], place: int
    ) -> None:
        row = make_window(["人不知而不慍不亦君子乎矣"])[None]
        other = row.copy()
        other[0, place] = row[0, place - 4]
        changed = compiled.logits(to_batch(row)) != compiled.logits(to_batch(other))
        assert not changed[0, :place].any()
        assert changed[0, place:].any(-1).all(), "each later token of the document sees the change"

    def test_samples_do_not_see_each_other(
        self, compiled: Compiled, windows: Ids, to_batch: Callable[[Ids], Batch]
    ) -> None:
        other = windows.copy()
        other[1] = other[1, ::-1]
        changed = compiled.logits(to_batch(windows)) != compiled.logits(to_batch(other))
        assert changed[1].any() and not changed[[0, 2]].any()


class TestPadding:
    def test_its_content_changes_neither_loss_nor_gradients(self, compiled: Compiled, batch: Batch) -> None:
        padding = batch.loss_mask == 0
        assert padding.sum() == 4
        inputs, labels = batch.input_ids.copy(), batch.labels.copy()
        labels[padding] = 9
        # The last real token stays: it is an input whose label is padding.
        inputs[2, -3:] = 11, 3, 7
        other = Batch(inputs, batch.position_ids, batch.document_ids, labels, batch.loss_mask, batch.sample_keys)
        loss, gradients = compiled.gradients(batch)
        other_loss, other_gradients = compiled.gradients(other)
        assert loss == other_loss
        for name, gradient in gradients.items():
            np.testing.assert_array_equal(gradient, other_gradients[name], err_msg=name)

    def test_a_batch_of_nothing_else_costs_nothing(
        self, compiled: Compiled, windows: Ids, to_batch: Callable[[Ids], Batch], special_ids: dict[str, int]
    ) -> None:
        loss, gradients = compiled.gradients(to_batch(np.full_like(windows, special_ids["pad_id"])))
        assert loss == 0.0
        assert not any(gradient.any() for gradient in gradients.values())


class TestFloat16:
    """Each activation is rounded to 11 bits: a relative error up to 2⁻¹¹ ≈ 4.9e-4, 2.8e-4 in the mean square.

    A logit has passed about 8 rounded operations a layer: √24 · 2.8e-4 ≈ 1.4e-3 of the logits' size is to be expected,
    and twice that allowed.
    """

    def test_logits(self, compiled_network: Compile, batch: Batch) -> None:
        exact = compiled_network("before_query_layer").logits(batch)
        rounded = compiled_network("before_query_layer", "float16").logits(batch)
        assert rounded.dtype == np.float16
        error = np.sqrt(np.mean((rounded - exact) ** 2) / np.mean(exact**2))
        assert 1e-4 < error < 2.8e-3

    def test_gradients(self, compiled_network: Compile, batch: Batch) -> None:
        _, exact = compiled_network("before_query_layer").gradients(batch)
        _, rounded = compiled_network("before_query_layer", "float16").gradients(batch)
        for name, gradient in exact.items():
            assert rounded[name].dtype == np.float32, name
            if not name.endswith("key.bias"):
                assert np.linalg.norm(rounded[name] - gradient) < 1e-2 * np.linalg.norm(gradient), name


class TestParameters:
    @pytest.mark.parametrize(
        "sizes",
        [
            {},
            {"num_layers": 2, "hidden_size": 24, "num_heads": 3, "vocab_size": 57, "seq_length": 9},
            {"num_layers": 5, "hidden_size": 8, "num_heads": 1, "vocab_size": 3, "seq_length": 2},
        ],
    )
    def test_count_is_the_arithmetic_of_the_settings(
        self, make_config: Callable[..., ModelConfig], sizes: dict
    ) -> None:
        config = make_config(**sizes)
        network = PanguAlpha(config)
        assert sum(item.size for item in network.get_parameters()) == num_parameters(config)
        assert all(item.requires_grad for item in network.get_parameters())

    def test_published_start(self, make_config: Callable[..., ModelConfig]) -> None:
        """The released code's: see `initializer.py`. Three layers: 0.02 ÷ √6 for what writes to the residual stream."""
        network = build_network(make_config(hidden_size=64, vocab_size=500, seq_length=100), seed=5)
        for item in network.get_parameters():
            values = item.asnumpy()
            std = expected_std(item)
            if std == 0:
                assert (values == (1 if item.name.endswith("gamma") else 0)).all(), item.name
            else:
                assert values.std() == pytest.approx(std, rel=0.05), item.name
                assert abs(values.mean()) < 4 * std / np.sqrt(values.size), item.name

    def test_the_seed_decides_the_start(self, make_config: Callable[..., ModelConfig]) -> None:
        config = make_config()
        one, same, other = (
            {item.name: item.asnumpy() for item in build_network(config, seed).get_parameters()} for seed in (1, 1, 2)
        )
        for name, values in one.items():
            np.testing.assert_array_equal(values, same[name])
            if values.std() > 0:
                assert not (values == other[name]).any(), name


def expected_std(item: Parameter) -> float:
    """Standard deviation of a parameter at the published start, from its name."""
    if item.name.endswith(("gamma", "beta", "bias")):
        return 0.0
    if item.name in ("embedding.position.table", "query_layer.top_query.table"):
        return 0.02 * 0.8796  # cut at two standard deviations
    if item.name.endswith(("attention.output.weight", "feed_forward.contract.weight")):
        return 0.02 / np.sqrt(6)
    if item.name.endswith(("query.weight", "key.weight", "value.weight")):
        return 0.01
    assert item.name == "embedding.word.table" or item.name.endswith("feed_forward.expand.weight")
    return 0.02
