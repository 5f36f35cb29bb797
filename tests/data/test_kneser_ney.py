from __future__ import annotations

import numpy as np
import pytest
from tests.data.conftest import CHUSHIBIAO, SANGUO

from pangu_alpha.data.kneser_ney import END, FIRST, UNKNOWN, KneserNey, code_points, count, symbols_of

TEXTS = [SANGUO, CHUSHIBIAO]


def model(texts: list[str], order: int) -> tuple[KneserNey, int]:
    """A model of characters, and the number of its symbols."""
    known = np.unique(code_points("".join(texts)))
    num_ids = len(known) + FIRST
    return count([symbols_of(code_points(text), known) for text in texts], order, num_ids), num_ids


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("before", [[], [4], [7, 9, 4], [UNKNOWN, 5, 5], [UNKNOWN, UNKNOWN, UNKNOWN]])
def test_probabilities_of_all_next_symbols_add_up_to_one(order: int, before: list[int]) -> None:
    learned, num_ids = model(TEXTS, order)
    after = [symbol for symbol in range(num_ids) if symbol not in (0, 1, END)]  # the start never follows
    each = [learned.probabilities(np.array([*before, symbol], np.uint64))[len(before)] for symbol in after]
    end = learned.probabilities(np.array(before, np.uint64))[-1]
    assert sum(each) + end == pytest.approx(1.0)


def test_what_was_seen_is_likelier_the_more_is_remembered() -> None:
    costs = []
    for order in (1, 2, 3, 4):
        learned, _ = model(TEXTS, order)
        known = np.unique(code_points("".join(TEXTS)))
        costs.append(-np.log(learned.probabilities(symbols_of(code_points(SANGUO), known))).mean())
    assert costs == sorted(costs, reverse=True) and costs[0] > 2 * costs[3]


def test_all_runs_are_found_in_the_table() -> None:
    learned, _ = model(TEXTS, 4)
    assert np.diff(learned.starts).max() >= 2  # so that more than the first place of a group is looked at
    assert (np.diff(learned.hashes.astype(object)) > 0).all()
    places = np.arange(len(learned.hashes))
    uppers = (learned.hashes >> np.uint64(64 - (len(learned.starts) - 1).bit_length() + 1)).astype(int)
    assert (learned.starts[uppers] <= places).all() and (places < learned.starts[uppers + 1]).all()
