from collections import Counter
from typing import Any

import pytest

from pangu_alpha.config import RunConfig, load_config
from pangu_alpha.parallel.implied import implied_collectives

SHARDED = ("parallel.optimizer_sharding=true",)


def totals(config: RunConfig, stage: int) -> dict[str, int]:
    """Counts by part, kind and axes, the places added up."""
    counts: Counter[str] = Counter()
    for (part, kind, axes, _), count in implied_collectives(config, stage).items():
        counts[f"{part} {kind} {'·'.join(axes)}"] += count
    return dict(counts)


def test_a_middle_stage_of_the_200b() -> None:
    # 4 layers, 16 micro-batches: two sums a layer forward and back; 10 weights and biases a layer are cut over mp and
    # sharded over dp, the two norms and the row-parallel biases (6) are kept whole.
    assert totals(load_config("200b_2048", SHARDED), 7) == {
        "forward AllReduce mp": 4 * 2 * 16,
        "backward AllReduce mp": 4 * 2 * 16,
        "parameters AllGather dp": 4 * 10,
        "gradients ReduceScatter dp": 4 * 10,
        "gradients AllReduce dp·mp": 4 * 6,
        "pipeline Send pp": 2 * 16,
        "pipeline Receive pp": 2 * 16,
        "update AllReduce pp·dp·mp": 1,
    }


def test_the_first_and_last_stage_share_the_word_table() -> None:
    config = load_config("200b_2048", SHARDED)
    first, middle, last = (totals(config, stage) for stage in (0, 7, 15))
    assert first["pipeline Send pp"] == first["pipeline Receive pp"] == 16 + 1
    assert last["pipeline Send pp"] == 16 + 1
    assert first["gradients AllReduce dp"] == last["gradients AllReduce dp"] == 1  # the word table, cut over mp
    assert first["forward AllReduce mp"] - middle["forward AllReduce mp"] == 16  # the look-up in the split table
    # The loss: a maximum, a sum and a pick over the split vocabulary; the maximum has no gradient. Then over replicas.
    assert last["forward AllReduce mp"] - middle["forward AllReduce mp"] == 3 * 16
    assert last["backward AllReduce mp"] - middle["backward AllReduce mp"] == 2 * 16
    assert last["forward AllReduce dp"] == last["backward AllReduce dp"] == 16


def test_sequence_parallelism_cuts_each_sum_in_two() -> None:
    config = load_config("200b_2048", (*SHARDED, "parallel.sequence_parallel=true"))
    for stage, num_more in ((0, 16), (7, 0)):  # the look-up in the split table
        counts = totals(config, stage)
        assert not any("AllReduce mp" in key for key in counts)
        assert counts["forward ReduceScatter mp"] == counts["backward AllGather mp"] == 4 * 2 * 16 + num_more
        assert counts["forward AllGather mp"] == counts["backward ReduceScatter mp"] == 4 * 2 * 16


def test_more_chunks_hand_over_more() -> None:
    overrides = ("parallel.schedule=interleaved", "parallel.num_chunks=2")
    # Stage 0 has runs 0 and 16 of 32: both have a later neighbour, one has an earlier.
    assert totals(load_config("200b_2048", overrides), 0)["pipeline Send pp"] == 3 * 16 + 1
    assert totals(load_config("200b_2048", overrides), 7)["pipeline Send pp"] == 4 * 16


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ("parallel.mp=1",),
            {"gradients AllReduce dp": 40 * 16 + 5, "update AllReduce dp": 1, "forward AllReduce dp": 1},
        ),
        (("parallel.dp=1",), {"forward AllReduce mp": 1 + 40 * 2 + 3, "gradients AllReduce mp": 40 * 6 + 4}),
    ],
)
def test_an_axis_of_one_rank_says_nothing(overrides: tuple[str, ...], expected: dict[str, Any]) -> None:
    counts = totals(load_config("13b", (*overrides, "parallel.optimizer_sharding=false")), 0)
    axes = {key.rpartition(" ")[2] for key in counts}
    assert axes == {"mp" if overrides == ("parallel.dp=1",) else "dp"}
    assert {key: counts[key] for key in expected} == expected
