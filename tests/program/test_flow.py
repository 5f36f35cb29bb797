from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pangu_alpha.errors import ProgramError
from pangu_alpha.program.flow import Computation, Flow, Frame, Reference
from pangu_alpha.program.graph import CALL, Graph, Monad, Node, Program, TensorType, ValueType

NUMBER = TensorType((), np.dtype(np.float64))
W = Reference("w", NUMBER)


class Arithmetic:
    """The meaning of two primitives: Add, and Ask, which asks whoever drives the program."""

    def step(self, node: Node, inputs: tuple[int, ...], slot: int) -> Computation:
        def add(frame: Frame) -> None:
            frame[slot] = sum(frame[i].value if isinstance(frame[i], Reference) else frame[i] for i in inputs)

        def ask(frame: Frame) -> Any:
            return node.attributes["question"], frame[inputs[0]]

        def write(frame: Frame) -> None:
            W.write(np.array(frame[inputs[0]], np.float64))

        return {"Add": add, "Ask": ask, "Assign": write}[node.primitive]

    def fit(self, kind: ValueType) -> Callable[[Any], Any]:
        return lambda value: value if isinstance(value, tuple) else float(value)

    def constant(self, value: Any) -> Any:
        return value

    def parameter(self, name: str) -> Any:
        return W


def node(output: str, primitive: str, *inputs: str, callee: str = "", **attributes: Any) -> Node:
    return Node(primitive, f"Default/{output}-op0", inputs, output, attributes, NUMBER, callee)


def graph(name: str, inputs: tuple[str, ...], *nodes: Node) -> Graph:
    return Graph(name, inputs, (NUMBER,) * len(inputs), (nodes[-1].output,), nodes)


def flow(*graphs: Graph, constants: Mapping[str, Any] = {}, parameters: Mapping[str, str] = {}) -> Flow:
    by_name = {item.name: item for item in graphs}
    program = Program(Path("test.mindir"), graphs[0], by_name, dict(constants), {}, {}, dict(parameters))
    return Flow(program, Arithmetic(), rank=3)


def result(running: Any, *answers: Any) -> Any:
    """What a program returns that asks once for each of `answers`."""
    try:
        running.send(None)
        for answer in answers:
            running.send(answer)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the program has not ended")


def test_a_switch_takes_the_graph_of_its_condition() -> None:
    chosen = flow(
        graph("main", ("x",), node("which", "Switch", "yes", "double", "same"), node("y", CALL, "x", callee="which")),
        graph("double", ("a",), node("a2", "Add", "a", "a")),
        graph("same", ("b",), node("b1", "Add", "b")),
        constants={"yes": True},
    )
    assert result(chosen.run([4.0])) == 8.0


def test_a_branch_on_what_is_not_computed_cannot_be_followed() -> None:
    unknown = flow(
        graph("main", ("x",), node("which", "Switch", "x", "same", "same"), node("y", CALL, "x", callee="which")),
        graph("same", ("b",), node("b1", "Add", "b")),
    )
    with pytest.raises(ProgramError, match="branches on a value that is not computed"):
        result(unknown.run([None]))


def test_a_closure_keeps_its_first_arguments_over_its_graph_s_end() -> None:
    # As MindSpore's forward pass hands its backward pass over: a tuple of a result and a closure.
    program = flow(
        graph("main", ("x",),
              node("both", CALL, "x", callee="forward"),
              node("back", "TupleGetItem", "both", "one"),
              node("y", CALL, "x", callee="back")),
        graph("forward", ("a",),
              node("kept", "Add", "a", "a"),
              node("closure", "Partial", "backward", "kept"),
              node("pair", "MakeTuple", "kept", "closure")),
        graph("backward", ("k", "g"), node("sum", "Add", "k", "g")),
        constants={"one": 1},
    )  # fmt: skip
    assert result(program.run([5.0])) == 15.0


def test_a_parameter_is_read_when_it_is_used_and_not_when_it_is_passed_on() -> None:
    W.write(np.array(1.0))
    program = flow(
        graph("main", ("main:w", "x"),
              node("alias", "Depend", "main:w", "x"),
              node("now", "Load", "main:w"),
              node("written", "Assign", "x"),
              node("y", "Add", "alias", "now")),
        parameters={"main:w": "w"},
    )  # fmt: skip
    assert result(program.run([10.0])) == 10.0 + 1.0


def test_what_a_node_asks_is_answered_by_whoever_runs_the_program() -> None:
    program = flow(graph("main", ("x",), node("y", "Ask", "x", question="sum?"), node("z", "Add", "y", "x")))
    running = program.run([2.0])
    assert running.send(None) == ("sum?", 2.0)
    with pytest.raises(StopIteration) as stop:
        running.send(40)
    assert stop.value.value == 42.0


def test_an_answer_that_does_not_fit_names_rank_and_node() -> None:
    program = flow(graph("main", ("x",), node("y", "Ask", "x", question="sum?")))
    with pytest.raises(ProgramError, match=r"rank 3 cannot execute Ask \(Default/y-op0\): could not convert"):
        result(program.run([2.0]), "many")


def test_values_are_forgotten_after_their_last_use() -> None:
    program = flow(graph("main", ("x",), node("a", "Add", "x", "x"), node("b", "Add", "a", "x"), node("c", "Add", "b")))
    (steps,) = [prepared.steps for prepared in program._graphs.values()]
    slots = {node.output: slot for node, _, slot, _, _ in steps}
    assert {node.output: dead for node, *_, dead in steps} == {"a": [], "b": [slots["a"]], "c": [slots["b"]]}


def test_monads_order_nodes_and_are_no_values() -> None:
    main = Graph("main", ("x", "u"), (NUMBER, Monad.MONAD), ("y",), (node("y", "Add", "x", "u"),))
    assert result(flow(main).run([3.0])) == 3.0


def test_a_value_that_nothing_makes_is_an_error() -> None:
    with pytest.raises(ProgramError, match=r"test.mindir: the value lost is used in main before it is made"):
        flow(graph("main", (), node("y", "Add", "lost")))


def test_a_call_gives_its_graph_as_many_arguments_as_it_takes() -> None:
    wrong = flow(
        graph("main", ("x",), node("y", CALL, "x", "x", callee="same")), graph("same", ("b",), node("b1", "Add", "b"))
    )
    with pytest.raises(ProgramError, match="argument"):
        result(wrong.run([1.0]))
