from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pangu_alpha.data import next_numbers


def test_nothing_is_left_out_unless_it_is_asked_for() -> None:
    assert next_numbers(16, 4).tolist() == [16, 17, 18, 19]


def test_a_bad_batch_is_left_out_and_the_next_one_follows_on() -> None:
    first = next_numbers(16, 4, [(18, 25)])
    assert first.tolist() == [16, 17, 26, 27]
    assert next_numbers(int(first[-1]) + 1, 4, [(18, 25)]).tolist() == [28, 29, 30, 31]


ranges = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 15)).map(lambda pair: (pair[0], sum(pair))), max_size=6)


@given(first=st.integers(0, 40), count=st.integers(1, 30), skipped=ranges)
def test_it_is_the_plain_order_without_the_ranges(first: int, count: int, skipped: list[tuple[int, int]]) -> None:
    left_out = {number for begin, last in skipped for number in range(begin, last + 1)}
    expected = [number for number in range(first, 200) if number not in left_out][:count]
    assert next_numbers(first, count, skipped).tolist() == expected
