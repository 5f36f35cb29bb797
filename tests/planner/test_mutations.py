"""Mistakes planted in the planner's account: each must show against what the compiler has shown, or in the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.planner.conftest import Account

from pangu_alpha.config import load_config
from pangu_alpha.planner import activations, communication, memory, operators, peak, pricing, step, timeline
from pangu_alpha.planner.hardware import load_hardware

Patch = pytest.MonkeyPatch


def test_without_a_mistake_nothing_differs(against_measured: Account) -> None:
    assert against_measured.differences() == set()
    errors = against_measured.memory_errors()
    assert len(errors) == 40 and sum(abs(error) <= 0.02 for error in errors) >= 38
    types = against_measured.type_errors()
    assert len(types) == 15 and sum(abs(error) <= 0.02 for error in types) >= 14


def mutate(patch: Patch, module: Any, name: str, change: Callable[[Any], Any]) -> None:
    """`name` of `module` returns what `change` makes of its result."""
    right = getattr(module, name)
    patch.setattr(module, name, lambda *words, **settings: change(right(*words, **settings)))


def without_output_sum(patch: Patch) -> None:
    def fewer(rows: dict[str, Any]) -> dict[str, Any]:
        return {name: row for name, row in rows.items() if name != "layer.attention.output.matmul"}

    mutate(patch, communication, "sharding_table", fewer)


def nothing_sent_back(patch: Patch) -> None:
    mutate(patch, peak, "_num_sent_back", lambda number: 0)


def half_the_logits_gradient(patch: Patch) -> None:
    mutate(patch, communication, "_network_bytes", lambda num_bytes: num_bytes // 2)


def gradients_in_the_compute_type(patch: Patch) -> None:
    patch.setattr(communication, "_FLOAT32", 2)


def weights_gathered_in_float32(patch: Patch) -> None:
    patch.setattr(memory.HeldParameter, "is_cast", False)


def contract_made_again(patch: Patch) -> None:
    def again(items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            yield replace(item, is_recomputed=item.is_recomputed or "contract.matmul" in item.name)

    mutate(patch, operators, "_layer", again)


def one_backward_product_too_few(patch: Patch) -> None:
    mutate(patch, operators, "_product", lambda item: replace(item, backward_flops=item.forward_flops))


def heads_not_cut(patch: Patch) -> None:
    right = operators._product
    patch.setattr(
        operators,
        "_product",
        lambda name, rows, summed, columns, number, c, again: right(
            name, rows, summed, columns, number + (name == "layer.attention.scores"), c, again
        ),
    )


def one_micro_batch_too_few(patch: Patch) -> None:
    def fewer(found: set[Any]) -> set[Any]:
        return {
            replace(item, layers=item.layers - item.layers // max(1, item.micro_batches) * (item.micro_batches > 1))
            for item in found
        }

    mutate(patch, peak, "moments", fewer)


def no_gathered_weights(patch: Patch) -> None:
    patch.setattr(peak, "_num_weights", lambda *_: 0)


def three_tensors_in_the_loss(patch: Patch) -> None:
    mutate(patch, activations.Sizes.logits, "func", lambda elements: elements * 3 // 4)


def no_sums_of_gradients(patch: Patch) -> None:
    patch.setattr(memory.StageState, "num_device_gradients", 0)


def gelu_in_its_tanh_form(patch: Patch) -> None:
    patch.setattr(activations, "_ERF_MORE", 0)


def weights_cast_to_their_own_type(patch: Patch) -> None:
    patch.setattr(activations.Sizes, "weight_bytes", activations.Sizes.compute_bytes)


def softmax_in_the_compute_type(patch: Patch) -> None:
    right = activations.layer_results
    patch.setattr(
        activations,
        "layer_results",
        lambda sizes: {**right(sizes), "attention weights": right(sizes)["attention weights"] // 2},
    )


@pytest.mark.parametrize(
    ("mistake", "kind"),
    [
        (without_output_sum, "count"),
        (half_the_logits_gradient, "bytes"),
        (gradients_in_the_compute_type, "bytes"),
        (weights_gathered_in_float32, "bytes"),
        (contract_made_again, "operations"),
        (one_backward_product_too_few, "operations"),
        (heads_not_cut, "operations"),
        (one_micro_batch_too_few, "memory"),
        (no_gathered_weights, "memory"),
        (three_tensors_in_the_loss, "memory"),
        (no_sums_of_gradients, "memory"),
        (softmax_in_the_compute_type, "memory"),
        (nothing_sent_back, "stages"),
        (gelu_in_its_tanh_form, "types"),
        (weights_cast_to_their_own_type, "types"),
    ],
)
def test_a_mistake_is_seen_against_the_programs(
    mistake: Callable[[Patch], None], kind: str, against_measured: Account, monkeypatch: Patch
) -> None:
    mistake(monkeypatch)
    assert kind in against_measured.differences()


def no_price_for_the_next_server(patch: Patch) -> None:
    right = pricing._levels
    patch.setattr(pricing, "_levels", lambda *words: list(right(*words))[:1])


def sum_at_the_price_of_a_gather(patch: Patch) -> None:
    mutate(patch, step, "message_seconds", lambda seconds: seconds / 2)


def nothing_made_again(patch: Patch) -> None:
    mutate(patch, operators, "_layer", lambda items: [replace(item, is_recomputed=False) for item in items])


def free_sends(patch: Patch) -> None:
    mutate(patch, step, "task_times", lambda times: replace(times, send=0.0))


def sums_beside_the_last_passes(patch: Patch) -> None:
    right = step.late_sums

    def beside(config: Any, state: Any, *words: Any) -> float:
        return right(config, replace(state, keeps_sums=False), *words)

    patch.setattr(step, "late_sums", beside)


def sums_of_one_run(patch: Patch) -> None:
    mutate(patch, step, "late_sums", lambda seconds: seconds / 4)


def no_warm_up(patch: Patch) -> None:
    """Stages that do not wait for each other."""

    def alone(plan: Any) -> Any:
        return replace(plan, needed=[len(plan.needed)] * len(plan.needed))

    mutate(patch, timeline, "_plan", alone)


@pytest.mark.parametrize(
    "mistake",
    [
        no_price_for_the_next_server,
        sum_at_the_price_of_a_gather,
        nothing_made_again,
        free_sends,
        no_warm_up,
        sums_beside_the_last_passes,
        sums_of_one_run,
    ],
)
def test_a_mistake_changes_the_time_of_the_papers_job(mistake: Callable[[Patch], None], monkeypatch: Patch) -> None:
    """The account of 200b_2048 is written down here; docs/planner.md shows it."""
    chip, config = load_hardware("910a"), load_config("200b_2048")
    assert step.account(step.price_recipe(config, chip)).seconds == pytest.approx(PAPERS_SECONDS, rel=1e-3)
    mistake(monkeypatch)
    assert step.account(step.price_recipe(config, chip)).seconds != pytest.approx(PAPERS_SECONDS, rel=1e-3)


PAPERS_SECONDS = 6.4926
