from collections import Counter
from dataclasses import replace

from pangu_alpha.parallel.implied import Key
from pangu_alpha.program.report import compare, traffic_rows
from pangu_alpha.program.traffic import Collective

OUTPUT: Key = ("forward", "AllReduce", ("mp",), "layer.attention.output")
BACK: Key = ("backward", "AllReduce", ("mp",), "")
IMPLIED = Counter({OUTPUT: 8, BACK: 8})
FORWARD = Collective(
    "AllReduce", "forward", ("mp",), (0, 1), "layer.attention.output", 4096, 8, "layers-CellList/0-Layer/output"
)
BACKWARD = replace(FORWARD, phase="backward", scope="Gradients/output/Grad_AllReduce")


def test_a_program_with_the_implied_collectives_has_no_problem() -> None:
    assert compare([FORWARD, BACKWARD], IMPLIED) == []


def test_a_redistribution_is_named_with_its_operator() -> None:
    accident = replace(
        FORWARD, kind="AllGather", place="layer.feed_forward.gelu", count=2, scope="layers-CellList/0-Layer/gelu-Gelu"
    )
    (problem,) = compare([FORWARD, BACKWARD, accident], IMPLIED)
    assert "2 AllGather over mp in the forward part at layer.feed_forward.gelu" in problem
    assert "not implied by the sharding table (2 in the program, 0 implied)" in problem
    assert "layers-CellList/0-Layer/gelu-Gelu, 4,096 bytes" in problem


def test_the_rare_operator_comes_before_those_that_belong_there() -> None:
    nodes = [replace(BACKWARD, count=1, scope="Gradients/contract") for _ in range(7)]
    odd = [replace(BACKWARD, count=1, num_bytes=512, scope="Gradients/oddity") for _ in range(2)]
    (problem,) = compare([FORWARD, *nodes, *odd], IMPLIED)
    assert problem.startswith("1 AllReduce over mp in the backward part not implied")
    assert problem.index("Gradients/oddity, 512 bytes") < problem.index("Gradients/contract, 4,096 bytes")


def test_a_missing_sum_is_a_problem_too() -> None:
    (problem,) = compare([BACKWARD], IMPLIED)
    assert problem.startswith("8 AllReduce over mp in the forward part at layer.attention.output missing")


def test_a_group_that_the_mesh_does_not_have_is_named() -> None:
    (problem,) = compare([FORWARD, BACKWARD, replace(FORWARD, axes=None, members=(0, 3), count=1)], IMPLIED)
    assert "1 AllReduce over ranks [0, 3] in the forward part" in problem


def test_the_table_adds_up_places_and_keeps_the_order_of_a_step() -> None:
    contract = replace(FORWARD, place="layer.feed_forward.contract", count=3)
    rows = traffic_rows([BACKWARD, FORWARD, contract], IMPLIED)
    assert [(row.phase, row.num_found, row.num_implied, row.num_bytes) for row in rows] == [
        ("forward", 11, 8, 11 * 4096),
        ("backward", 8, 8, 8 * 4096),
    ]
