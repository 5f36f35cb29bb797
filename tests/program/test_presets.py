"""The programs of the shipped recipes: they fit, hold no unimplied collective, and stay small.

One of them is compiled in every run of the tests (most of a minute), all where PANGU_ALPHA_SLOW_TESTS is set.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from pangu_alpha.compiler.programs import compile_ranks, stage_ranks
from pangu_alpha.config import load_config
from pangu_alpha.program.report import report_ranks
from pangu_alpha.topology.mesh import Mesh

DEVICE = 32 << 30
# Nodes of the first, a middle and the last stage's program, with a tenth to spare. MindSpore's manual has a 13B of
# 135,000 nodes that compiles for 3 hours.
NODES = {
    "2b6": (15_400,),
    "13b": (19_200,),
    "200b_1024": (3_000, 3_200, 4_600),
    "200b_2048": (3_000, 3_200, 4_600),
    "200b_2048_fast": (3_400, 3_600, 4_100),
    "200b_2048_fast_1536": (6_700, 7_200, 8_250),
}
ALWAYS = ("200b_2048", 2047 - 127)  # the last stage has the most in it


def programs() -> Iterator[Any]:
    slow = pytest.mark.skipif(not os.environ.get("PANGU_ALPHA_SLOW_TESTS"), reason="set PANGU_ALPHA_SLOW_TESTS=1")
    for recipe, limits in NODES.items():
        ranks = stage_ranks(Mesh.of(load_config(recipe).parallel))
        for stage, rank in enumerate(ranks):
            limit = limits[0] if stage == 0 else limits[-1] if rank == ranks[-1] else limits[1]
            yield pytest.param(recipe, rank, limit, marks=() if (recipe, rank) == ALWAYS else slow)


@pytest.mark.parametrize(("recipe", "rank", "max_nodes"), programs())
def test_a_presets_program_fits_and_stays_small(recipe: str, rank: int, max_nodes: int) -> None:
    config = load_config(recipe)
    (report,) = report_ranks(config, compile_ranks(config, [rank], level=1), DEVICE)
    assert report.problems == ()
    assert report.num_nodes <= max_nodes
    assert report.measured.host_memory < 6 << 30
