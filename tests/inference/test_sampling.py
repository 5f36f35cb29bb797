from __future__ import annotations

import numpy as np
import pytest

from pangu_alpha.errors import ConfigError
from pangu_alpha.inference.sampling import SamplingOptions, candidates, choose, penalise_repetition, uniform

PROBABILITIES = np.array([0.1, 0.5, 0.05, 0.3, 0.05])
LOGITS = np.log(PROBABILITIES).astype(np.float32)
ALLOWED = np.zeros(5, bool)


def frequencies(options: dict[str, float], num_draws: int = 4000) -> np.ndarray:
    draws = [choose(LOGITS, [], ALLOWED, SamplingOptions(**options), 0, step) for step in range(num_draws)]
    return np.bincount(draws, minlength=5) / num_draws


def test_plain_sampling_follows_the_distribution() -> None:
    np.testing.assert_allclose(frequencies({}), PROBABILITIES, atol=0.025)


def test_temperature_sharpens_as_a_power() -> None:
    powers = PROBABILITIES**2 / (PROBABILITIES**2).sum()
    np.testing.assert_allclose(frequencies({"temperature": 0.5}), powers, atol=0.025)


def test_temperature_zero_and_nearly_zero_are_the_argmax() -> None:
    for temperature in (0.0, 1e-30):
        assert choose(LOGITS, [], ALLOWED, SamplingOptions(temperature=temperature), 0, 0) == 1


def test_top_k_draws_from_the_k_likeliest() -> None:
    np.testing.assert_allclose(frequencies({"top_k": 2}), [0, 0.625, 0, 0.375, 0], atol=0.025)
    assert frequencies({"top_k": 1}, 50)[1] == 1.0
    assert len(candidates(LOGITS, SamplingOptions(top_k=9))[0]) == 5


@pytest.mark.parametrize(("top_p", "kept"), [(0.5, 1), (0.51, 2), (0.79, 2), (0.85, 3), (1.0, 5)])
def test_top_p_keeps_the_fewest_that_reach_it(top_p: float, kept: int) -> None:
    ids, _ = candidates(LOGITS, SamplingOptions(top_p=top_p))
    assert len(ids) == kept
    assert list(ids[: min(kept, 3)]) == [1, 3, 0][:kept]


def test_top_p_counts_after_top_k_and_temperature() -> None:
    ids, _ = candidates(LOGITS, SamplingOptions(top_k=3, top_p=0.8))  # 0.5/0.9 + 0.3/0.9 = 0.89
    assert list(ids) == [1, 3]
    assert list(candidates(LOGITS, SamplingOptions(temperature=0.5, top_p=0.7))[0]) == [1]  # 0.25/0.355 = 0.704


def test_repetition_penalty_lowers_positive_and_negative_logits_once() -> None:
    logits = np.array([2.0, -2.0, 4.0], np.float32)
    penalise_repetition(logits, [0, 1, 1, 0], 2.0)
    assert list(logits) == [1.0, -4.0, 4.0]


def test_forbidden_tokens_are_never_chosen() -> None:
    forbidden = np.array([False, True, False, True, False])
    for temperature in (0.0, 5.0):
        options = SamplingOptions(temperature=temperature)
        assert {choose(LOGITS, [], forbidden, options, 0, step) for step in range(200)} <= {0, 2, 4}


def test_the_draw_depends_on_seed_prompt_and_step_only() -> None:
    assert uniform(1, 2, 3) == uniform(1, 2, 3)
    draws = {uniform(seed, prompt, step) for seed in range(4) for prompt in range(4) for step in range(4)}
    assert len(draws) == 64
    assert all(0 <= draw < 1 for draw in draws)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_new_tokens", 0),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("repetition_penalty", 0.0),
        ("seed", -1),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        SamplingOptions(**{name: value})
