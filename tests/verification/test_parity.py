"""A few layouts in which every feature occurs, verified as `pangu verify --quick` does it.

The first run compiles some 50 small programs, which takes minutes; they are kept, and the next runs take seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pangu_alpha.training.result import StepResult
from pangu_alpha.verification import parity
from pangu_alpha.verification.cases import Case, quick_cases
from pangu_alpha.verification.parity import Verdict, verify
from pangu_alpha.verification.reference import Anchor, Exact


@pytest.mark.parametrize("case", quick_cases(), ids=str)
def test_a_layout_trains_the_same_network_as_one_device(case: Case) -> None:
    assert verify(case).complaints() == []


SIZE = quick_cases()[0].config("float32").model.hidden_size
WEIGHTS = {"final_norm.beta": np.ones(SIZE), "layers.0.attention.key.bias": np.zeros(SIZE)}
MOVED = {name: 2 * value for name, value in WEIGHTS.items()}


class Echo:
    """A step of which the reference says the same, whatever that is."""

    def __init__(self, gradients: dict[str, Any]) -> None:
        self.found = gradients

    def load(self, read: Any) -> None: ...

    def require_equal_copies(self) -> None: ...

    def gradients(self) -> dict[str, Any]:
        return self.found

    def tensors(self, names: Sequence[str]) -> dict[str, Any]:
        return {name: MOVED[name] for name in names}


def complaints(
    monkeypatch: pytest.MonkeyPatch, results: Sequence[StepResult], gradients: dict[str, Any]
) -> tuple[str, ...]:
    """What the three comparisons say of a step that does exactly what the reference does."""
    step: Any = Echo(gradients)
    norms = {name: float(np.linalg.norm(value)) for name, value in gradients.items()}

    def run(step: Any, config: Any, after_first: Any = lambda: None) -> list[StepResult]:
        after_first()
        return list(results)

    monkeypatch.setattr(parity, "run", run)
    monkeypatch.setattr(parity, "start", lambda model, seed: WEIGHTS)
    monkeypatch.setattr(parity, "exact", lambda config: Exact(list(results), gradients, MOVED))
    monkeypatch.setattr(parity, "anchor", lambda config: Anchor(list(results), norms))
    monkeypatch.setattr(parity, "_overflow_on_one_rank", lambda step, config: [])
    config = quick_cases()[0].config("float32")
    comparisons = (parity.compare_exactly, parity.compare_with_kernels, parity.compare_in_half)
    return tuple("; ".join(Verdict("", compare(step, config, config)).complaints()) for compare in comparisons)


def steps(*results: tuple[float, float, bool]) -> list[StepResult]:
    return [StepResult(loss, norm, 1, skipped) for loss, norm, skipped in results]


GOOD = steps((2.0, 0.4, True), (1.0, 0.4, False))


def test_a_step_that_does_what_the_reference_does_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    assert complaints(monkeypatch, GOOD, WEIGHTS) == ("", "", "")


def test_agreement_on_no_gradient_is_not_good(monkeypatch: pytest.MonkeyPatch) -> None:
    still = {name: np.zeros(SIZE) for name in WEIGHTS}
    exact, single, _ = complaints(monkeypatch, steps((2.0, 0.0, True), (1.0, 0.0, False)), still)
    assert "tensors without gradient: 1, final_norm.beta" in exact and "float64 gradient norm differs by nan" in exact
    assert "float32 gradient's size differs by nan" in single
    one_still = {**WEIGHTS, "final_norm.gamma": np.zeros(SIZE)}
    assert "tensors without gradient: 1, final_norm.gamma" in complaints(monkeypatch, GOOD, one_still)[0]


@pytest.mark.parametrize("loss", [0.0, float("nan"), float("inf")])
def test_agreement_on_a_loss_that_is_none_is_not_good(loss: float, monkeypatch: pytest.MonkeyPatch) -> None:
    for found, name in zip(
        complaints(monkeypatch, steps((2.0, 0.4, True), (loss, 0.4, False)), WEIGHTS),
        ("float64", "float32", "float16"),
        strict=True,
    ):
        assert f"{name} loss differs by nan at step 1" in found


@pytest.mark.parametrize("skipped", [False, True])
def test_agreement_on_no_overflow_or_nothing_else_is_not_good(skipped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    half = complaints(monkeypatch, steps((2.0, 0.4, skipped), (1.0, 0.4, skipped)), WEIGHTS)[2]
    assert "float16 skipped steps: 2, steps [0, 1]" in half
