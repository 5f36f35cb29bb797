from __future__ import annotations

import pytest

from pangu_alpha.config import load_config
from pangu_alpha.planner.durations import task_durations
from pangu_alpha.topology.schedule import Task


@pytest.mark.parametrize(("kind", "factor"), [("none", 2.0), ("selective", 2.0), ("whole", 3.0)])
def test_the_tasks_of_the_200b_by_hand(kind: str, factor: float) -> None:
    # 4 layers a stage; a layer has 24d² + 4Sd operations a token, the head 2Vd.
    duration = task_durations(load_config("200b_2048", [f"parallel.rematerialisation={kind}"]))
    head = 2 * 40000 * 16384 / (24 * 16384**2 + 4 * 1024 * 16384)
    assert duration(7, Task("forward", 3, 0)) == 4.0
    assert duration(7, Task("backward", 3, 0)) == 4.0 * factor
    assert duration(15, Task("forward", 3, 0)) == pytest.approx(4.0 + head)
    assert duration(15, Task("backward", 3, 0)) == pytest.approx((4.0 + head) * factor)


def test_the_head_is_in_the_last_chunk_of_the_last_stage() -> None:
    overrides = ["model.num_layers=8", "parallel={pp: 2, schedule: interleaved, num_chunks: 2}"]
    duration = task_durations(load_config("tiny_cpu", overrides))
    assert duration(1, Task("forward", 0, 1)) > duration(1, Task("forward", 0, 0)) >= 1.0
