from __future__ import annotations

import re

import pytest

from pangu_alpha.tokenizer import Tokenizer, count_pieces


def test_every_piece_is_of_one_kind(small: Tokenizer, prose: list[str]) -> None:
    counts = count_pieces(small)
    assert sum(counts.values()) == 700
    assert (counts["special"], counts["byte"], counts["Latin"]) == (4, 256, 0)
    # All Han characters of the text but the few beyond the coverage.
    assert counts["Han, 1 character"] == pytest.approx(len(set(re.findall("[一-龥]", "".join(prose)))), abs=5)
    assert counts["Han, 2 characters"] > 20


def test_the_released_pieces(released: Tokenizer) -> None:
    counts = count_pieces(released)
    assert (counts["special"], counts["byte"]) == (7, 0)
    assert counts["Latin"] > 2000
