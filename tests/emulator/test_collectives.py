from __future__ import annotations

import runpy
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from pangu_alpha.emulator.collectives import LockStep
from pangu_alpha.errors import EmulatorError

TALK = runpy.run_path(str(Path(__file__).with_name("ranks_that_talk.py")))


def _run(rank_program: Callable[[int], Any], num_ranks: int = 4) -> dict[int, Any]:
    return LockStep().run({rank: rank_program(rank) for rank in range(num_ranks)})


def test_every_exchange() -> None:
    results = _run(TALK["exchange"])
    start = {rank: np.arange(8.0).reshape(4, 2) + 100 * rank for rank in range(4)}
    total = sum(start.values())
    for rank in range(4):
        other = (rank + 2) % 4
        low, high = sorted((rank, other))
        blocks = slice(0, 2) if rank == low else slice(2, 4)
        expected = [
            total,
            start[high],
            start[(rank - 1) % 4],
            np.concatenate([start[low], start[high]]),
            total[rank : rank + 1],
            np.concatenate([start[low][blocks], start[high][blocks]], 1),
            start[3],
            -start[(rank - 1) % 4],
        ]
        for got, wanted in zip(results[rank], expected, strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(("op", "expected"), [("sum", 6.0), ("prod", 0.0), ("max", 3.0), ("min", 0.0)])
def test_reductions(op: str, expected: float) -> None:
    def rank_program(rank: int) -> Generator[Any, Any, float]:
        return float((yield TALK["collective"]("AllReduce", (0, 1, 2, 3), np.float32([rank]), op=op))[0])

    assert set(_run(rank_program).values()) == {expected}


@pytest.mark.parametrize(("dtype", "size"), [(np.float16, 2048.0), (ml_dtypes.bfloat16, 256.0)])
def test_narrow_types_are_added_up_in_float32_and_rounded_once(dtype: Any, size: float) -> None:
    def rank_program(rank: int) -> Generator[Any, Any, Any]:
        value = np.array([size if rank == 0 else 1.0], dtype)
        return (yield TALK["collective"]("AllReduce", (0, 1, 2, 3), value, op="sum"))[0]

    # One after the other, each addition of 1 would be rounded away.
    result = _run(rank_program)[0]
    assert result.dtype == dtype
    assert float(result) == size + 4


def test_an_unknown_reduction_is_an_error() -> None:
    def rank_program(rank: int) -> Generator[Any, Any, None]:
        yield TALK["collective"]("AllReduce", (0, 1), np.zeros(1), op="mean")

    with pytest.raises(EmulatorError, match="by 'mean' is not known"):
        _run(rank_program, 2)


def test_the_order_of_the_ranks_does_not_matter() -> None:
    backwards = LockStep().run({rank: TALK["exchange"](rank) for rank in (3, 1, 0, 2)})
    assert backwards == _run(TALK["exchange"])


def test_a_deadlock_says_who_waits_where_for_whom() -> None:
    with pytest.raises(EmulatorError) as caught:
        _run(TALK["deadlock"])
    assert str(caught.value).splitlines()[1:] == [
        "  rank 0 waits at Receive (layers.0/in) for rank 1 to send tag 5 in group world",
        "  rank 1 waits at AllReduce (layers.1/reduce) for rank 3 of group group(1, 3), ranks [1, 3]",
        "  rank 3 waits at Receive (layers.3/in) for rank 0 to send tag 6 in group world",
        "  rank 2 has finished its step",
    ]


def test_collectives_that_do_not_match_are_named() -> None:
    with pytest.raises(EmulatorError) as caught:
        _run(TALK["mismatch"])
    message = str(caught.value)
    assert "ranks 0 and 2 do not match" in message
    assert "rank 2 at AllReduce (rank2/norm) with AllReduce op=sum of float32 [3]" in message


def test_messages_out_of_order_and_left_behind_are_named() -> None:
    with pytest.raises(EmulatorError, match=r"rank 1 at Receive \(layers.1/in\) receives tag 11 .* tag 10 first"):
        _run(TALK["wrong_tag"])
    with pytest.raises(EmulatorError, match=r"rank 3 never receives what rank 2 sends it at Send \(layers.2/out\)"):
        _run(TALK["never_received"])
