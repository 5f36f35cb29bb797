from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pangu_alpha.program.graph import CALL, Graph, Node, Program, TensorType
from pangu_alpha.program.traffic import axes_of, collectives, num_nodes
from pangu_alpha.topology.mesh import Mesh

MESH = Mesh(dp=2, mp=2, pp=2)
ROWS = TensorType((4, 8), np.dtype(np.float16))
LAYER = "Default/network-RankStep/loss-Pipeline/network-PanguAlpha/layers-CellList/3-Layer/attention-Attention"


@pytest.mark.parametrize(
    ("members", "axes"),
    [
        ((4, 5), ("mp",)),
        ((5, 7), ("dp",)),
        ((1, 5), ("pp",)),
        ((4, 5, 6, 7), ("dp", "mp")),
        (tuple(range(8)), ("pp", "dp", "mp")),
        ((5,), ()),
        ((5, 6), None),
        ((4, 6), None),  # along dp, but rank 5 is not in it
    ],
)
def test_a_group_is_recognised_by_its_ranks(members: tuple[int, ...], axes: tuple[str, ...] | None) -> None:
    assert axes_of(members, MESH, rank=5) == axes


def test_a_mesh_of_one_axis_names_the_fewest() -> None:
    assert axes_of((0, 1, 2, 3), Mesh(dp=1, mp=4, pp=1), rank=2) == ("mp",)


@pytest.fixture
def one_node(write_program: Callable[..., Program]) -> Callable[..., Any]:
    def make(primitive: str, scope: str, attributes: dict[str, Any]) -> Any:
        program = write_program([("y", primitive, ("x",), attributes)], {"x": ROWS, "y": ROWS}, inputs=("x",))
        node = program.main.nodes[0]
        node = Node(primitive, scope, node.inputs, node.output, node.attributes, node.output_type)
        main = Graph("main", program.main.inputs, program.main.input_types, program.main.outputs, (node,))
        program = replace(program, main=main, graphs={"main": main})
        (found,) = collectives(program, MESH, rank=5)
        return found

    return make


def test_a_sum_inside_the_network_is_placed_by_its_cell(one_node: Callable[..., Any]) -> None:
    found = one_node("AllReduce", f"{LAYER}/output-Linear/AllReduce-op2", {"group": "a", "group_rank_ids": (4, 5)})
    assert (found.phase, found.axes, found.place) == ("forward", ("mp",), "layer.attention.output")
    assert (found.count, found.num_bytes) == (1, 4 * 8 * 2)


def test_what_is_scattered_counts_as_a_whole(one_node: Callable[..., Any]) -> None:
    scope = "Gradients/Default/Grad__MicroStepAllGather/ReduceScatter-op3"
    found = one_node("ReduceScatter", scope, {"group": "a", "group_rank_ids": (5, 7)})
    assert (found.phase, found.axes, found.num_bytes) == ("gradients", ("dp",), 2 * 4 * 8 * 2)


def test_the_backward_pass_and_the_update_are_told_apart(one_node: Callable[..., Any]) -> None:
    members = {"group": "hccl_world_group"}
    backward = one_node("AllReduce", f"Gradients/{LAYER}/output-Linear/Grad_AllReduce/AllReduce-op1", members)
    update = one_node("AllReduce", "Default/network-RankStep/step-WholeStep/update-Update/AllReduce-op1", members)
    assert (backward.phase, update.phase) == ("backward", "update")
    assert update.axes == ("pp", "dp", "mp")


def test_a_message_goes_along_the_pipeline_or_nowhere(one_node: Callable[..., Any]) -> None:
    stages = {"group": "a", "group_rank_ids": (1, 5)}
    assert one_node("Send", "Default/Send-op1", {**stages, "dest_rank": 0}).axes == ("pp",)
    across = one_node("Receive", "Default/Receive-op1", {"group": "hccl_world_group", "src_rank": 2})
    assert across.axes is None and across.axis_name == "ranks [2, 5]"


def node(output: str, primitive: str, inputs: tuple[str, ...], callee: str = "", **attributes: Any) -> Node:
    return Node(primitive, f"Default/{output}-op0", inputs, output, attributes, ROWS, callee)


def test_a_graph_called_for_each_micro_batch_counts_each_time() -> None:
    # The forward graph returns a closure of the backward graph, as MindSpore's shared network does.
    forward = Graph("forward", ("a",), (ROWS,), ("f_out",), (
        node("f_sum", "AllReduce", ("a",), group="g", group_rank_ids=(4, 5)),
        node("f_back", "Partial", ("backward", "f_sum")),
        node("f_out", "MakeTuple", ("f_sum", "f_back")),
    ))  # fmt: skip
    backward = Graph("backward", ("kept", "b"), (ROWS, ROWS), ("b_sum",), (
        node("b_sum", "AllReduce", ("b",), group="g"),
        node("b_twice", "AllReduce", ("b_sum",), group="g"),
    ))  # fmt: skip
    calls = []
    for micro in "12":
        calls += [
            node(f"c{micro}", CALL, ("x",), "forward"),
            node(f"one{micro}", "TupleGetItem", (f"c{micro}", "index")),
            node(f"d{micro}", CALL, ("x",), f"one{micro}"),
        ]
    never = Graph("never", ("a",), (ROWS,), ("n_sum",), (node("n_sum", "AllReduce", ("a",), group="g"),))
    main = Graph("main", ("x",), (ROWS,), ("d2",), tuple(calls))
    graphs = {graph.name: graph for graph in (main, forward, backward, never)}
    program = Program(Path(), main, graphs, {"index": 1}, {}, {}, {})
    found = {item.scope: item.count for item in collectives(program, MESH, rank=5)}
    assert found == {"Default/f_sum-op0": 2, "Default/b_sum-op0": 2, "Default/b_twice-op0": 2}
    assert num_nodes(program) == 6 + 3 + 2 + 1


def test_a_gathered_weight_is_told_from_gathered_rows() -> None:
    scope = f"{LAYER}/AllGather-op0"
    nodes = (
        node("half", "Cast", ("main:weight",)),
        Node("AllGather", scope, ("half",), "whole", {"group": "g", "group_rank_ids": (5, 7)}, ROWS),
        Node("AllGather", scope, ("x",), "rows", {"group": "g"}, ROWS),
    )
    main = Graph("main", ("main:weight", "x"), (ROWS, ROWS), ("rows",), nodes)
    names = {"main:weight": "layers.3.attention.query.weight"}
    found = collectives(Program(Path(), main, {"main": main}, {}, {}, {}, names), MESH, rank=5)
    assert [item.phase for item in found] == ["parameters", "forward"]
