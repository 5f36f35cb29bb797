"""The interpreter: programs written by hand, and one that MindSpore compiled and runs too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mindspore as ms
import ml_dtypes
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops

from pangu_alpha.emulator.machine import Machine
from pangu_alpha.errors import EmulatorError, ProgramError
from pangu_alpha.program.graph import Program, TensorType, read_program

Write = Callable[..., Program]


def _type(*shape: int, dtype: Any = "float32") -> TensorType:
    return TensorType(shape, np.dtype(dtype))


def _run(program: Program, *inputs: Any, **options: Any) -> Any:
    return Machine({0: program}, **options).step(*inputs)[0][0]


def test_a_parameter_is_read_when_it_is_needed_and_loaded_when_it_is_loaded(write_program: Write) -> None:
    nodes = [
        ("passed_on", "Depend", ["w", "x"], {}),
        ("before", "Load", ["w"], {}),
        ("assigned", "AssignAdd", ["w", "x"], {}),
        ("both", "MakeTuple", ["passed_on", "before"], {}),
        ("sum", "AddN", ["both"], {}),
    ]
    types = {name: _type(2) for name in ("passed_on", "before", "assigned", "sum", "x")}
    program = write_program(nodes, types, ["x"], {"w": [1, 2]})
    machine = Machine({0: program})
    # 11 after the assignment, 1 before it.
    assert machine.step(np.array([10, 10], np.float32))[0][0].tolist() == [11 + 1, 12 + 2]
    assert machine.step(np.array([10, 10], np.float32))[0][0].tolist() == [21 + 11, 22 + 12]
    assert machine.gather()["w"].tolist() == [21, 22]


def test_int32_products_wrap_around(write_program: Write) -> None:
    types = {"x": _type(2, dtype="int32"), "y": _type(2, dtype="int32")}
    program = write_program([("y", "Mul", ["x", "c"], {})], types, ["x"], constants={"c": np.array(2**30, np.int32)})
    for precision in ("native", "float64"):
        assert _run(program, np.array([3, 4], np.int32), precision=precision).tolist() == [-(2**30), 0]


@pytest.mark.parametrize(("dtype", "bits"), [("float16", 11), (ml_dtypes.bfloat16, 8)])
def test_narrow_types_are_rounded_once_for_each_node(write_program: Write, dtype: Any, bits: int) -> None:
    kind = _type(dtype=dtype)
    nodes = [
        ("narrow", "Cast", ["x", "number"], {}),
        ("y", "Add", ["narrow", "narrow"], {}),
        ("z", "Sub", ["y", "one"], {}),
    ]
    constants = {"number": 42, "one": np.ones((), dtype)}
    program = write_program(nodes, {"x": _type(), "narrow": kind, "y": kind, "z": kind}, ["x"], constants=constants)
    half_step, value = 2.0**-bits, np.float32(1 + 2.0**-bits * 1.5)
    result = _run(program, value)
    assert result.dtype == np.dtype(dtype)
    assert float(result) == 2 * (1 + 2 * half_step) - 1
    lifted = _run(program, value, precision="float64")
    assert lifted.dtype == np.float64
    assert float(lifted) == 2 * float(value) - 1


def test_unknown_primitives_and_attributes_are_all_named_before_anything_runs(write_program: Write) -> None:
    nodes = [
        ("a", "Erfinv", ["x"], {}),
        ("b", "LayerNormGrad", ["x"], {}),
        ("c", "Exp", ["x"], {"base": 2.0, "fusion": 1}),
        ("d", "AllReduce", ["x"], {"group": "hccl_world_group", "op": "sum", "compress": True}),
    ]
    with pytest.raises(EmulatorError) as caught:
        Machine({0: write_program(nodes, dict.fromkeys("abcdx", _type()), ["x"])})
    message = str(caught.value)
    assert "the primitive Erfinv, first at Default/a-Erfinv" in message
    assert "LayerNormGrad lacks the attribute epsilon, first at Default/b-LayerNormGrad" in message
    assert "the attribute base = 2.0 of Exp is not known" in message
    assert "the attribute compress = True of AllReduce is not known" in message
    assert "fusion" not in message


@pytest.mark.parametrize(
    ("recorded", "problem"),
    [(_type(3), r"shape \[2\], the program says \[3\]"), (_type(2, dtype="int32"), "float32, the program says int32")],
)
def test_a_result_that_is_not_what_the_program_recorded_is_an_error(
    write_program: Write, recorded: TensorType, problem: str
) -> None:
    program = write_program([("y", "Exp", ["x"], {})], {"x": _type(2), "y": recorded}, ["x"])
    with pytest.raises(ProgramError, match=rf"rank 0 cannot execute Exp \(Default/y-Exp\).*{problem}"):
        _run(program, np.zeros(2, np.float32))


class _Step(nn.Cell):
    """Two layers with a LayerNorm, a hash of integers, gradients, and an update only if they are finite."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.table = Parameter(Tensor(rng.normal(size=(11, 8)).astype(np.float32)), name="table")
        self.weight = Parameter(Tensor(rng.normal(size=(8, 8)).astype(np.float32)), name="weight")
        self.norm = ops.LayerNorm(1, 1, 1e-5)
        self.parameters_ = ms.ParameterTuple([self.table, self.weight])
        self.first = self.parameters_.clone(prefix="adam_m", init="zeros")
        self.second = self.parameters_.clone(prefix="adam_v", init="zeros")
        self.ones, self.zeros = Tensor(np.ones(8, np.float32)), Tensor(np.zeros(8, np.float32))
        self.update, self.gradient = ops.AdamWeightDecay(), ops.GradOperation(get_by_list=True)
        self.forward_ = self.forward

    def forward(self, ids: Tensor, labels: Tensor) -> Tensor:
        hidden = ops.gather(self.table, ids, 0)
        kept = ops.cast(ops.bitwise_xor(ids * 2146121005, ids * 31) >= -1610612736, ms.float32)
        hidden = hidden * ops.expand_dims(kept, 1)
        hidden = hidden + ops.GeLU()(ops.MatMul()(self.norm(hidden, self.ones, self.zeros)[0], self.weight))
        logits = ops.MatMul(transpose_b=True)(hidden, self.table)
        maximum = ops.stop_gradient(ops.ReduceMax(True)(logits, 1))
        log_sum = ops.log(ops.ReduceSum(True)(ops.exp(logits - maximum), 1)) + maximum
        return ops.ReduceSum()(log_sum - ops.GatherD()(logits, 1, ops.reshape(labels, (-1, 1))))

    def construct(self, ids: Tensor, labels: Tensor, rate: Tensor) -> Tensor:
        loss = self.forward(ids, labels)
        gradients = self.gradient(self.forward_, self.parameters_)(ids, labels)
        if ops.isfinite(loss * rate):
            for i in range(2):
                changed = self.update(
                    self.parameters_[i], self.first[i], self.second[i], rate, 0.9, 0.95, 1e-8, 0.01, gradients[i]
                )
                loss = ops.depend(loss, changed)
        return loss


def test_an_exported_program_does_what_mindspore_does(tmp_path: Path) -> None:
    step = _Step().set_train()
    start = {item.name: item.asnumpy().copy() for item in step.get_parameters()}
    rng = np.random.default_rng(1)
    ids, labels = rng.integers(0, 11, (2, 32)).astype(np.int32)
    ms.export(step, Tensor(ids), Tensor(labels), Tensor(0.1), file_name=str(tmp_path / "step"), file_format="MINDIR")
    machine = Machine({0: read_program(tmp_path / "step.mindir")})
    machine.scatter(start)
    for rate in (0.05, 0.05, np.inf, 0.05):
        before = machine.gather()
        expected = float(step(Tensor(ids), Tensor(labels), Tensor(rate, ms.float32)))
        assert float(machine.step(ids, labels, rate)[0][0]) == pytest.approx(expected, rel=2e-6)
        assert set(machine.gradients()) == (set() if np.isinf(rate) else {"table", "weight"})
        assert np.array_equal(before["weight"], machine.gather()["weight"]) == np.isinf(rate)
    for item in step.get_parameters():
        np.testing.assert_allclose(machine.gather()[item.name], item.asnumpy(), rtol=2e-4, atol=2e-5)
        assert np.abs(item.asnumpy() - start[item.name]).max() > 0.01
