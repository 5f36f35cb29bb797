from __future__ import annotations

import pytest

from pangu_alpha.errors import ConfigError
from pangu_alpha.training.rehearsed import VARIABLE, ranks_of


def test_all_ranks_have_a_process_unless_a_rehearsal_says_otherwise() -> None:
    assert ranks_of({}, 3) == (0, 1, 2)
    assert ranks_of({VARIABLE: "0,2047"}, 2048) == (0, 2047)


@pytest.mark.parametrize("text", ["", "0,2048", "0,0", "0,x", "-1"])
def test_ranks_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="does not name ranks of a job of 2048"):
        ranks_of({VARIABLE: text}, 2048)
