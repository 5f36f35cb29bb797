"""Two ranks that hold a weight in two halves: y = Σ over ranks of x·w, then an update of each half."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pangu_alpha.emulator.machine import Machine
from pangu_alpha.errors import EmulatorError, LayoutError
from pangu_alpha.program.graph import Monad, Program, TensorType

Write = Callable[..., Program]
GROUP = {"group": "2-5", "group_rank_ids": (0, 1)}
START = {
    "w": np.array([1, 2, 3, 4], np.float32),
    "adam_m.w": np.zeros(4, np.float32),
    "adam_v.w": np.ones(4, np.float32),
}


def _type(*shape: int) -> TensorType:
    return TensorType(shape, np.dtype(np.float32))


def _row(cut: bool) -> list[Any]:
    return [[2], [0 if cut else -1], [], 0, True, "", [4], [], False, False, 0, 0]


def _machine(
    write: Write, edit: Callable[[int, list[Any]], None] = lambda rank, nodes: None, **options: Any
) -> Machine:
    programs = {}
    for rank in range(2):
        nodes = [
            ("product", "Mul", ["x", "w"], {}),
            ("partial", "ReduceSum", ["product", "axes", "keep", "skip"], {}),
            ("y", "AllReduce", ["partial"], {"op": "sum", **GROUP}),
            ("updated", "AdamWeightDecay", ["w", "adam_m.w", "adam_v.w", *["one"] * 5, "x", "keep", "monad"], {}),
        ]
        edit(rank, nodes)
        types = {"product": _type(2), "partial": _type(), "y": _type(), "x": _type(2)}
        constants = {"axes": (), "keep": False, "skip": False, "one": 0.5, "monad": Monad.MONAD}
        parameters = {name: value[:2] for name, value in START.items()}
        programs[rank] = write(nodes, types, ["x"], parameters, constants, "y")
    layout = dict.fromkeys(["x", *START], _row(cut=True))
    return Machine(programs, {0: layout, 1: layout}, **options)


def test_steps_keep_parameters_and_give_back_whole_tensors(write_program: Write) -> None:
    x = np.array([1, 10, 100, 1000], np.float32)
    machine = _machine(write_program)
    machine.scatter({**START, "not of this program": x})
    assert [float(out[0]) for out in machine.step(x).values()] == [4321.0, 4321.0]
    np.testing.assert_array_equal(machine.gradients()["w"], x)
    first, second = 0.5 * x, 0.5 + 0.5 * x**2
    updated = START["w"] - 0.5 * (first / (np.sqrt(second) + 0.5) + 0.5 * START["w"])
    np.testing.assert_allclose(machine.gather()["w"], updated, rtol=1e-6)
    np.testing.assert_allclose(machine.gather()["adam_v.w"], second, rtol=1e-6)
    assert float(machine.step(x)[1][0]) == pytest.approx(float(np.sum(updated * x)), rel=1e-6)


def test_float64_lifts_everything(write_program: Write) -> None:
    machine = _machine(write_program, precision="float64")
    third = np.array([1, 1, 1, 1]) / 3
    machine.scatter({"w": third})
    assert float(machine.step(third)[0][0]) == pytest.approx(4 / 9, rel=1e-15)
    assert machine.gather()["w"].dtype == np.float64


def test_a_parameter_without_a_value_is_named(write_program: Write) -> None:
    machine = _machine(write_program)
    for program in machine._ranks.values():
        program.parameters["w"].value = None
    with pytest.raises(EmulatorError, match="no value yet, scatter them: w"):
        machine.step(np.ones(4, np.float32))


def test_wrong_inputs_are_refused(write_program: Write) -> None:
    machine = _machine(write_program)
    with pytest.raises(EmulatorError, match="takes 1 inputs, not 2"):
        machine.step(np.ones(4), np.ones(4))
    with pytest.raises(LayoutError, match=r"x has the shape \[5\], the layout says \[4\]"):
        machine.step(np.ones(5))
    with pytest.raises(LayoutError, match=r"w has the shape \[2\]"):
        machine.scatter({"w": np.ones(2)})


def test_a_rank_that_skips_a_collective_is_named(write_program: Write) -> None:
    def skip(rank: int, nodes: list[Any]) -> None:
        if rank == 1:
            nodes[2] = ("y", "Depend", ["partial"], {})

    with pytest.raises(EmulatorError) as caught:
        _machine(write_program, skip).step(np.ones(4))
    assert "rank 0 waits at AllReduce (Default/y-AllReduce) for rank 1 of group 2-5, ranks [0, 1]" in str(caught.value)
    assert "rank 1 has finished its step" in str(caught.value)


def test_a_program_for_another_mesh_is_refused(write_program: Write) -> None:
    def widen(rank: int, nodes: list[Any]) -> None:
        nodes[2][3]["group_rank_ids"] = (0, 1, 8)

    with pytest.raises(EmulatorError, match=r"rank 0 of 2: AllReduce .* group of the ranks \[0, 1, 8\]"):
        _machine(write_program, widen)


def test_a_layout_that_does_not_fit_the_program_is_refused(write_program: Write) -> None:
    program = write_program([("y", "Exp", ["w"], {})], {"y": _type(2)}, (), {"w": [1, 2]})
    with pytest.raises(EmulatorError, match=r"w on rank 0: the layout gives it the shape \[4\], the program \[2\]"):
        Machine({0: program}, {0: {"w": _row(cut=False)}})


def test_a_copy_sent_by_another_stage_does_not_count(write_program: Write) -> None:
    pair = {"group": "hccl_world_group", "sr_tag": 0}
    owner = write_program([("y", "Send", ["table"], {"dest_rank": 1, **pair})], {"y": _type(2)}, (), {"table": [1, 2]})
    receiver = write_program(
        [("y", "Receive", ["table"], {"src_rank": 0, **pair})],
        {"y": _type(2)},
        (),
        {"table": [8, 9], "adam_m.table": [0, 0]},
    )
    machine = Machine({0: owner, 1: receiver})
    assert machine.step()[1][0].tolist() == [1, 2]
    assert {name: value.tolist() for name, value in machine.gather().items()} == {"table": [1, 2]}
