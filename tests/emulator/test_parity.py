"""A few layouts in which every feature occurs, verified as `pangu verify --quick` does it.

The first run compiles 40 small programs, which takes minutes; they are kept, and the next runs take seconds.
"""

from __future__ import annotations

import pytest

from pangu_alpha.emulator.cases import Case, quick_cases
from pangu_alpha.emulator.parity import verify


@pytest.mark.parametrize("case", quick_cases(), ids=str)
def test_a_layout_trains_the_same_network_as_one_device(case: Case) -> None:
    assert verify(case).complaints() == []
